"use client";

import { Async } from "@/components/Async";
import { Card, Stat, Stats } from "@/components/Card";
import { Select } from "@/components/Field";
import { Page } from "@/components/Page";
import { Scroller } from "@/components/Scroller";
import { Segmented } from "@/components/Segmented";
import { Skeleton } from "@/components/Skeleton";
import { StackedBars, type StackPart } from "@/components/StackedBars";
import { When } from "@/components/When";
import { modelHref, useModelNames } from "@/features/models/queries";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage } from "@/lib/api/lists";
import { count, day, millis, shortCount } from "@/lib/format";
import { useListing } from "@/lib/listing";
import { KeyBadge } from "./KeyBadge";
import { useKeys } from "./queries";

type Usage = Schemas["Usage"];
type Analytics = Schemas["KeyAnalytics"];

const spans = ["7", "30", "90"] as const;

/** What a key was used for, day by day and model by model. */
export function KeyPage({ id }: { id: string }) {
  const list = useListing("model");
  const days = list.oneOf("days", spans) ?? "30";
  const analytics = $api.useQuery(
    "get",
    "/api/keys/{id}/analytics",
    { params: { path: { id }, query: { days: Number(days) } } },
    { refetchInterval: 30_000, ...keepPage },
  );
  const key = useKeys().data?.items.find((item) => item.id === id);
  return (
    <Page
      title={key?.name ?? "API key"}
      parent={{ href: "/keys", label: "API keys" }}
      aside={key && <KeyBadge item={key} />}
      note={key && <code className="font-mono">{key.prefix}…</code>}
      actions={
        <Segmented
          label="Days"
          value={days}
          onChange={(next) => list.set({ days: next === "30" ? undefined : next })}
          options={spans.map((value) => ({ value, label: `${value} days` }))}
        />
      }
    >
      <Async query={analytics} loading={<Skeleton className="h-96" />}>
        {(told) => <Analysis told={told} model={list.get("model")} onModel={(model) => list.set({ model })} />}
      </Async>
    </Page>
  );
}

type AnalysisProps = { told: Analytics; model: string | undefined; onModel: (model: string) => void };

function Analysis({ told, model, onModel }: AnalysisProps) {
  const nameOf = useModelNames();
  const models = told.models.filter(({ model_id }) => model_id !== "");
  const usage = usageOf(told, model);
  return (
    <div className="grid gap-5">
      <Card>
        <Stats className="lg:grid-cols-6">
          <Stat label="Requests" value={count(usage.requests)} note={under(told)} />
          <Stat
            label="Errors"
            value={count(usage.errors)}
            note={usage.cancelled ? `${count(usage.cancelled)} left` : undefined}
          />
          <Stat label="Tokens read" value={shortCount(usage.prompt_tokens)} />
          <Stat label="Tokens written" value={shortCount(usage.completion_tokens)} />
          <Stat label="Half within" value={millis(usage.latency_p50_ms)} />
          <Stat label="95 of 100 within" value={millis(usage.latency_p95_ms)} />
        </Stats>
      </Card>
      {told.total.requests === 0 ? (
        <Card>
          <p className="py-8 text-center text-ink-3">
            {told.last_used_at ? (
              <>
                Not used in these days; the last time was <When at={told.last_used_at} />.
              </>
            ) : (
              "Nothing has used this key yet."
            )}
          </p>
        </Card>
      ) : (
        <>
          {models.length > 1 && (
            <Select
              aria-label="Model"
              className="sm:w-72"
              value={model ?? ""}
              onChange={(event) => onModel(event.target.value)}
            >
              <option value="">All models</option>
              {models.map(({ model_id }) => (
                <option key={model_id} value={model_id}>
                  {nameOf(model_id)}
                </option>
              ))}
            </Select>
          )}
          <Days told={told} model={model} />
          <ByModel told={told} nameOf={nameOf} />
        </>
      )}
    </div>
  );
}

const under = ({ under_way }: Analytics) => (under_way > 0 ? `${count(under_way)} under way` : undefined);

const nothing: Usage = {
  requests: 0,
  errors: 0,
  cancelled: 0,
  interrupted: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
};

/** The usage of everything, or of one model's part of it. */
function usageOf(
  { total, usage, models }: { total?: Usage; usage?: Usage; models: Schemas["ModelUsage"][] },
  model?: string,
) {
  if (!model) return total ?? usage ?? nothing;
  return models.find(({ model_id }) => model_id === model)?.usage ?? nothing;
}

type Drawn = { title: string; parts: StackPart[]; of: (usage: Usage) => number[]; format: (n: number) => string };

const drawn: Drawn[] = [
  {
    title: "Requests",
    parts: [
      { label: "Answered", look: "bg-chart-1" },
      { label: "Left by the client", look: "bg-chart-3" },
      { label: "Errors", look: "bg-bad" },
    ],
    of: ({ requests, cancelled, errors }) => [requests - cancelled - errors, cancelled, errors],
    format: shortCount,
  },
  {
    title: "Tokens",
    parts: [
      { label: "Read", look: "bg-chart-1" },
      { label: "Written", look: "bg-chart-2" },
    ],
    of: ({ prompt_tokens, completion_tokens }) => [prompt_tokens, completion_tokens],
    format: shortCount,
  },
  {
    title: "Time to the whole answer",
    parts: [
      { label: "Half within (p50)", look: "bg-chart-1" },
      { label: "95 of 100 within (p95)", look: "bg-chart-1/35" },
    ],
    of: ({ latency_p50_ms = 0, latency_p95_ms = 0 }) => [latency_p50_ms, Math.max(0, latency_p95_ms - latency_p50_ms)],
    format: millis,
  },
];

function Days({ told, model }: { told: Analytics; model: string | undefined }) {
  return (
    <div className="grid gap-5 lg:grid-cols-2">
      {drawn.map(({ title, parts, of, format }, i) => (
        <Card key={title} title={title} className={i === 0 ? "lg:col-span-2" : undefined}>
          <StackedBars
            label={`${title} by day`}
            parts={parts}
            format={format}
            stacks={told.days.map((each) => {
              const usage = usageOf(each, model);
              return { label: day(each.date), title: titleOf(each.date, usage), values: of(usage) };
            })}
          />
        </Card>
      ))}
    </div>
  );
}

function titleOf(date: string, usage: Usage): string {
  const { requests, errors, prompt_tokens, completion_tokens, latency_p50_ms, latency_p95_ms } = usage;
  if (requests === 0) return `${day(date)}: nothing`;
  const times =
    latency_p50_ms === undefined
      ? ""
      : `; half within ${millis(latency_p50_ms)}, 95 of 100 within ${millis(latency_p95_ms)}`;
  return `${day(date)}: ${count(requests)} requests, ${count(errors)} errors, ${count(prompt_tokens)} tokens read, ${count(completion_tokens)} written${times}`;
}

const columns: [string, (usage: Usage) => string][] = [
  ["Requests", ({ requests }) => count(requests)],
  ["Errors", ({ errors }) => count(errors)],
  ["Tokens read", ({ prompt_tokens }) => count(prompt_tokens)],
  ["Tokens written", ({ completion_tokens }) => count(completion_tokens)],
  ["p50", ({ latency_p50_ms }) => millis(latency_p50_ms)],
  ["p95", ({ latency_p95_ms }) => millis(latency_p95_ms)],
];

function ByModel({ told, nameOf }: { told: Analytics; nameOf: (id: string) => string }) {
  return (
    <Card title="By model" flush>
      <Scroller label="By model">
        <table className="w-full min-w-xl text-sm">
          <thead>
            <tr className="border-line border-b text-ink-3">
              <th scope="col" className="px-4 py-2 text-left font-medium sm:px-5">
                Model
              </th>
              {columns.map(([name]) => (
                <th key={name} scope="col" className="whitespace-nowrap px-4 py-2 text-right font-medium">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="divide-y divide-line">
            {told.models.map(({ model_id, usage }) => (
              <tr key={model_id}>
                <th scope="row" className="max-w-72 truncate px-4 py-2 text-left font-normal sm:px-5">
                  {model_id ? (
                    <a href={modelHref(model_id)} className="text-accent-ink hover:underline">
                      {nameOf(model_id)}
                    </a>
                  ) : (
                    <span className="text-ink-3">no model reached</span>
                  )}
                </th>
                {columns.map(([name, of]) => (
                  <td key={name} className="tabular px-4 py-2 text-right">
                    {of(usage)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </Scroller>
    </Card>
  );
}
