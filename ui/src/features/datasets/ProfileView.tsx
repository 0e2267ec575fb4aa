"use client";

import { Download } from "lucide-react";
import { useId, useState } from "react";
import { Badge } from "@/components/Badge";
import { Bars, Parts } from "@/components/Bars";
import { Button } from "@/components/Button";
import { Card, Stat, Stats } from "@/components/Card";
import { Scroller } from "@/components/Scroller";
import { Segmented } from "@/components/Segmented";
import { csv, downloadText } from "@/lib/download";
import { count, plural, share, shortCount } from "@/lib/format";
import { type Bucket, type Column, charsPerToken, type Issue, overPart, type Profile, shareOver } from "./profile";
import type { Dataset } from "./queries";

/** What a pass over every row has found, in pictures. */
export function ProfileView({ dataset, profile }: { dataset: Dataset; profile: Profile }) {
  return (
    <div className="grid gap-5">
      <Card title="Rows">
        <Stats className="mb-5">
          <Stat label="In the file" value={count(profile.rows)} />
          <Stat label="To train on" value={count(dataset.train_rows)} />
          <Stat label="Held out to judge by" value={count(dataset.eval_rows)} />
          <Stat label="Tokens, about" value={shortCount(profile.total.estimated_tokens)} note="4 characters a token" />
        </Stats>
        <Parts
          label="What becomes of the rows"
          format={count}
          parts={[
            { label: "to train on", value: dataset.train_rows ?? 0, look: "bg-chart-1" },
            { label: "held out", value: dataset.eval_rows ?? 0, look: "bg-chart-2" },
            {
              label: profile.duplicates.approximate ? "say the same as another (about)" : "say the same as another",
              value: profile.duplicates.rows,
              look: "bg-ink-3",
            },
            { label: "cannot be used", value: profile.invalid_rows, look: "bg-bad" },
          ]}
        />
        {profile.notes && profile.notes.length > 0 && (
          <ul className="mt-4 grid gap-1 text-ink-2 text-sm">
            {profile.notes.map((note) => (
              <li key={note}>{note}</li>
            ))}
          </ul>
        )}
      </Card>
      <Lengths profile={profile} />
      <Columns columns={profile.columns ?? []} unused={profile.unused ?? []} />
      <Issues dataset={dataset} issues={profile.issues} />
    </div>
  );
}

type Side = "total" | "prompt" | "completion";

const lengthChoices = [64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192];

function Lengths({ profile }: { profile: Profile }) {
  const id = useId();
  const [side, setSide] = useState<Side>("total");
  const buckets = profile[side].buckets ?? [];
  const fitting = lengthChoices.findIndex((tokens) => shareOver(profile.total.buckets ?? [], tokens) <= 0.01);
  const [choice, setChoice] = useState(fitting < 0 ? lengthChoices.length - 1 : fitting);
  const tokens = lengthChoices[choice]!;
  const cut = shareOver(profile.total.buckets ?? [], tokens);
  return (
    <Card
      title="Length of a row"
      note={`In characters. Half are shorter than ${count(profile[side].p50)}, 99 of 100 shorter than ${count(profile[side].p99)}.`}
      actions={
        <Segmented
          label="Which part"
          value={side}
          onChange={setSide}
          options={[
            { value: "total", label: "Whole row" },
            { value: "prompt", label: "Question" },
            { value: "completion", label: "Answer" },
          ]}
        />
      }
    >
      <Bars label="Rows by length" bars={buckets.map((bucket) => bar(bucket, side === "total" ? tokens : undefined))} />
      <div className="mt-5 grid gap-2 border-line border-t pt-4 sm:grid-cols-[1fr_auto] sm:items-center sm:gap-6">
        <div>
          <label htmlFor={id} className="flex justify-between font-medium text-sm">
            If a row may have
            <span className="tabular">{plural(tokens, "token")}</span>
          </label>
          <input
            id={id}
            type="range"
            min={0}
            max={lengthChoices.length - 1}
            value={choice}
            onChange={(event) => setChoice(Number(event.target.value))}
            aria-valuetext={plural(tokens, "token")}
            className="mt-1 w-full accent-accent"
          />
        </div>
        <p className="text-sm sm:w-64">
          <strong className={cut > 0.05 ? "text-bad" : undefined}>
            {cut > 0 && cut < 0.001 ? "Under 0.1%" : share(cut)}
          </strong>{" "}
          of the rows would be cut off, by an estimate of {charsPerToken} characters a token.
        </p>
      </div>
    </Card>
  );
}

function bar(bucket: Bucket, tokens: number | undefined) {
  const cut = tokens === undefined ? 0 : overPart(bucket, tokens * charsPerToken);
  return {
    label: shortCount(bucket.from),
    value: bucket.count,
    cut,
    title: `${count(bucket.from)} to ${count(bucket.to)} characters: ${plural(bucket.count, "row")}${cut > 0 ? `, ${share(cut)} of them cut off` : ""}`,
  };
}

function Columns({ columns, unused }: { columns: Column[]; unused: string[] }) {
  return (
    <Card title="Columns" flush>
      <Scroller label="Columns">
        <table className="w-full min-w-xl text-left text-sm">
          <thead className="text-ink-3">
            <tr className="border-line border-b">
              {["Column", "Used as", "Types", "Missing", "Empty", "Mean length"].map((name) => (
                <th key={name} scope="col" className="px-4 py-2 font-medium sm:px-5">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="divide-y divide-line">
            {columns.map((column) => (
              <tr key={column.name}>
                <th
                  scope="row"
                  title={column.name}
                  className="max-w-48 truncate px-4 py-2.5 font-medium font-mono sm:px-5"
                >
                  {column.name}
                </th>
                <td className="px-4 py-2.5 sm:px-5">
                  {column.role ? (
                    <Badge tone="accent">{column.role}</Badge>
                  ) : unused.includes(column.name) ? (
                    <Badge>left out</Badge>
                  ) : (
                    "–"
                  )}
                </td>
                <td className="px-4 py-2.5 sm:px-5">{Object.keys(column.types).join(", ")}</td>
                <td className="tabular px-4 py-2.5 sm:px-5">{column.nulls > 0 ? share(column.null_share) : "–"}</td>
                <td className="tabular px-4 py-2.5 sm:px-5">{column.empties > 0 ? count(column.empties) : "–"}</td>
                <td className="tabular px-4 py-2.5 sm:px-5">
                  {column.mean_chars > 0 ? count(column.mean_chars) : "–"}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroller>
    </Card>
  );
}

function Issues({ dataset, issues }: { dataset: Dataset; issues: Profile["issues"] }) {
  const cited = issues.cited ?? [];
  if (cited.length === 0) return null;
  const save = () =>
    downloadText(
      `${dataset.name}-issues.csv`,
      csv([
        ["row", "line", "field", "severity", "code", "message"],
        ...cited.map((i) => [i.row, i.line, i.field, i.severity, i.code, i.message]),
      ]),
      "text/csv",
    );
  return (
    <Card
      title="What is wrong"
      note="A row with an error is left out; one with warnings is used. The first of each kind are listed."
      flush
      actions={
        <Button size="sm" icon={<Download aria-hidden className="size-4" />} onClick={save}>
          Download
        </Button>
      }
    >
      <ul aria-label="What is wrong" tabIndex={0} className="max-h-96 divide-y divide-line overflow-y-auto">
        {cited.map((issue, i) => (
          <IssueRow key={i} issue={issue} />
        ))}
      </ul>
    </Card>
  );
}

function IssueRow({ issue }: { issue: Issue }) {
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2.5 text-sm sm:px-5">
      <span className="w-16">
        <Badge tone={issue.severity === "error" ? "bad" : "warn"}>
          {issue.severity === "error" ? "left out" : "warning"}
        </Badge>
      </span>
      <span className="tabular w-20 text-ink-3">
        {issue.line ? `line ${count(issue.line)}` : `row ${count(issue.row)}`}
      </span>
      <span className="min-w-0 flex-1 basis-60">
        {issue.field && !issue.message.startsWith(issue.field) && (
          <code className="mr-2 font-mono text-ink-2">{issue.field}</code>
        )}
        {issue.message}
      </span>
    </li>
  );
}
