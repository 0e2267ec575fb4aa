"use client";

import { type FormEvent, useState } from "react";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Checkbox, Field, Input, Select } from "@/components/Field";
import { ErrorNotice, Notice } from "@/components/Notice";
import { isMoving } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { $api } from "@/lib/api/client";
import { asProblem } from "@/lib/api/problem";
import type { Profile } from "./profile";
import type { Dataset, ProcessOptions } from "./queries";

type Shape = {
  value: string;
  label: string;
  roles: { role: string; label: string; optional?: boolean; like?: RegExp }[];
};

/** The layouts that a mapping can choose, with the roles that columns play in them. */
const shapes: Shape[] = [
  {
    value: "instruction",
    label: "A question and its answer, learnt as a chat",
    roles: [
      { role: "instruction", label: "Question", like: /question|prompt|instruction|query|ask|frage/i },
      { role: "output", label: "Answer to learn", like: /answer|reply|response|completion|output|antwort/i },
      { role: "input", label: "More of the question", optional: true },
      { role: "system", label: "System prompt", optional: true },
    ],
  },
  {
    value: "prompt",
    label: "A beginning and how it goes on, learnt as bare text",
    roles: [
      { role: "prompt", label: "Beginning" },
      { role: "completion", label: "Continuation to learn" },
      { role: "system", label: "System prompt", optional: true },
    ],
  },
  {
    value: "messages",
    label: "A list of messages",
    roles: [
      { role: "messages", label: "Messages" },
      { role: "system", label: "System prompt", optional: true },
    ],
  },
  { value: "text", label: "Plain text", roles: [{ role: "text", label: "Text" }] },
  {
    value: "chosen",
    label: "Preferred and refused answers",
    roles: [
      { role: "prompt", label: "Asked", optional: true },
      { role: "chosen", label: "Preferred" },
      { role: "rejected", label: "Refused" },
    ],
  },
];

const said = (mapping: Record<string, string> | null | undefined) =>
  mapping && Object.keys(mapping).length > 0 ? { ...mapping } : undefined;

/** What columns that nobody knows may mean, by what their names contain; for somebody to look at and correct. */
function guessed(columns: string[]): Record<string, string> {
  const mapping: Record<string, string> = {};
  for (const { role, like } of shapes[0]!.roles) {
    const column = like && columns.find((name) => like.test(name));
    if (column !== undefined) mapping[role] = column;
  }
  return mapping;
}

/** Which columns mean what, which rows are kept, and how many are held out. Saving reads the file again. */
export function Processing({ dataset, profile }: { dataset: Dataset; profile: Profile | undefined }) {
  const columns = profile?.columns?.map(({ name }) => name) ?? dataset.columns ?? [];
  const now = dataset.options ?? {};
  const [mapping, setMapping] = useState<Record<string, string>>(
    () => said(now.mapping) ?? said(profile?.roles) ?? guessed(columns),
  );
  const [remap, setRemap] = useState(Object.keys(now.mapping ?? {}).length > 0 || dataset.status === "failed");
  const [heldOut, setHeldOut] = useState<"default" | "rows" | "share" | "none">(heldOutBy(now));
  const process = $api.useMutation("post", "/api/datasets/{id}/process");
  const busy = isMoving(dataset.status);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const body = optionsFrom(form, heldOut, remap ? mapping : undefined);
    process.mutate(
      { params: { path: { id: dataset.id } }, body },
      { onSuccess: () => toast.good("The file is being read again") },
    );
  };
  const problem = process.error ? asProblem(process.error) : undefined;
  return (
    <form onSubmit={submit} className="grid gap-5">
      <Card title="Columns" note="What each column means. Recognised by name; say it yourself where that fails.">
        <Checkbox
          label="Choose the columns myself"
          checked={remap}
          onChange={(event) => setRemap(event.target.checked)}
          className="mb-4"
        />
        {remap && (
          <Mapping
            columns={columns}
            mapping={mapping}
            onChange={setMapping}
            example={(column) => exampleOf(profile, column)}
          />
        )}
      </Card>
      <Card title="Rows">
        <div className="grid gap-5 sm:grid-cols-2">
          <Checkbox
            name="deduplicate"
            label="Leave out rows that say the same as an earlier one"
            hint="It also keeps held-out rows from repeating what is trained on."
            defaultChecked={now.deduplicate ?? true}
            className="sm:col-span-2"
          />
          <NumberField name="max_rows" label="Use at most" unit="rows" value={now.max_rows} placeholder="all" />
          <NumberField
            name="min_completion_chars"
            label="Shortest answer"
            unit="characters"
            value={now.min_completion_chars}
            placeholder="any"
          />
          <NumberField
            name="min_chars"
            label="Shortest row"
            unit="characters"
            value={now.min_chars}
            placeholder="any"
          />
          <NumberField name="max_chars" label="Longest row" unit="characters" value={now.max_chars} placeholder="any" />
        </div>
      </Card>
      <Card title="Held out" note="Rows that are kept from training, to judge the result by. A verdict needs 100.">
        <div className="grid gap-5 sm:grid-cols-2">
          <Field label="How many">
            <Select value={heldOut} onChange={(event) => setHeldOut(event.target.value as typeof heldOut)}>
              <option value="default">As many as suit the file</option>
              <option value="rows">So many rows</option>
              <option value="share">A share of the rows</option>
              <option value="none">None</option>
            </Select>
          </Field>
          {heldOut === "rows" && (
            <NumberField name="eval_rows" label="Rows" value={now.eval_rows || 100} required min={1} />
          )}
          {heldOut === "share" && (
            <NumberField
              name="eval_percent"
              label="Share"
              unit="%"
              value={Number(((now.eval_share || 0.1) * 100).toPrecision(6))}
              required
              min={0.1}
              max={90}
              step="any"
            />
          )}
        </div>
        {heldOut === "none" && (
          <Notice kind="warn" className="mt-4">
            Nothing will tell whether the tuned model is better than its base.
          </Notice>
        )}
      </Card>
      {problem && <ErrorNotice error={problem} />}
      <div className="flex items-center gap-3">
        <Button type="submit" variant="primary" busy={process.isPending} disabled={busy}>
          Read again with these
        </Button>
        {busy && <span className="text-ink-3 text-sm">It is being read right now.</span>}
      </div>
    </form>
  );
}

type MappingProps = {
  columns: string[];
  mapping: Record<string, string>;
  onChange: (mapping: Record<string, string>) => void;
  example: (column: string | undefined) => string | undefined;
};

function Mapping({ columns, mapping, onChange, example }: MappingProps) {
  const [shape, setShape] = useState(
    () => shapes.find(({ roles }) => roles.some(({ role, optional }) => !optional && mapping[role])) ?? shapes[0]!,
  );
  const choose = (value: string) => {
    setShape(shapes.find((s) => s.value === value)!);
    onChange({});
  };
  const set = (role: string, column: string) => {
    const next = { ...mapping, [role]: column };
    if (!column) delete next[role];
    onChange(next);
  };
  return (
    <div className="grid gap-5 sm:grid-cols-2">
      <Field label="A row is" className="sm:col-span-2">
        <Select value={shape.value} onChange={(event) => choose(event.target.value)}>
          {shapes.map(({ value, label }) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </Select>
      </Field>
      {shape.roles.map(({ role, label, optional }) => (
        <Field key={role} label={label} aside={optional ? "optional" : undefined} hint={example(mapping[role])}>
          {columns.length > 0 ? (
            <Select
              value={mapping[role] ?? ""}
              required={!optional}
              onChange={(event) => set(role, event.target.value)}
            >
              <option value="">{optional ? "none" : "Choose a column"}</option>
              {columns.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </Select>
          ) : (
            <Input
              value={mapping[role] ?? ""}
              required={!optional}
              onChange={(event) => set(role, event.target.value)}
              placeholder="the column's name"
            />
          )}
        </Field>
      ))}
    </div>
  );
}

type NumberFieldProps = {
  name: string;
  label: string;
  unit?: string;
  value: number | undefined;
  placeholder?: string;
  required?: boolean;
  min?: number;
  max?: number;
  step?: string;
};

function NumberField({ name, label, unit, value, min = 0, ...rest }: NumberFieldProps) {
  return (
    <Field label={label} aside={unit}>
      <Input type="number" inputMode="decimal" name={name} defaultValue={value || ""} min={min} {...rest} />
    </Field>
  );
}

/** What the first row has in a column, to tell columns apart by. */
function exampleOf(profile: Profile | undefined, column: string | undefined): string | undefined {
  const raw = profile?.preview?.[0]?.raw as Record<string, unknown> | undefined;
  const value = column === undefined ? undefined : raw?.[column];
  if (value === undefined || value === null) return undefined;
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return `For example: ${text.length > longestExample ? `${text.slice(0, longestExample)} …` : text}`;
}

const longestExample = 80;

function heldOutBy(options: ProcessOptions) {
  if (options.no_eval) return "none";
  if (options.eval_rows) return "rows";
  return options.eval_share ? "share" : "default";
}

function optionsFrom(form: FormData, heldOut: string, mapping: Record<string, string> | undefined): ProcessOptions {
  const number = (name: string) => Number(form.get(name) || 0);
  return {
    mapping: mapping ?? {},
    deduplicate: form.get("deduplicate") === "on",
    max_rows: number("max_rows"),
    min_chars: number("min_chars"),
    max_chars: number("max_chars"),
    min_completion_chars: number("min_completion_chars"),
    ...(heldOut === "rows" ? { eval_rows: number("eval_rows") } : {}),
    ...(heldOut === "share" ? { eval_share: number("eval_percent") / 100 } : {}),
    ...(heldOut === "none" ? { no_eval: true } : {}),
    ...(heldOut === "default" ? { eval_rows: 0 } : {}),
  };
}
