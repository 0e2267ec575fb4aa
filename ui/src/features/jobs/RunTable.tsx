import type { ReactNode } from "react";
import { Card } from "@/components/Card";
import { cx } from "@/components/cx";
import { Scroller } from "@/components/Scroller";
import { StatusBadge } from "@/components/Status";
import { Verdict } from "@/features/evaluations/Verdict";
import { bytes, count, duration, measure, none } from "@/lib/format";
import type { Comparison, Run } from "./queries";
import { settings, shown, type Value } from "./settings";

type Result = {
  name: string;
  show: (run: Run) => ReactNode;
  /** What makes one the best of them, least first. */
  rank?: (run: Run) => number | undefined;
};

const results: Result[] = [
  { name: "Status", show: ({ status }) => <StatusBadge status={status} /> },
  { name: "Steps", show: ({ step, total_steps }) => `${count(step)} of ${count(total_steps)}` },
  {
    name: "Better than its base",
    show: ({ evaluation }) => (evaluation ? <Verdict verdict={evaluation.verdict} /> : none),
  },
  {
    name: "Change of loss",
    show: ({ evaluation }) =>
      evaluation ? `${measure(evaluation.loss_delta)} on ${count(evaluation.rows)} rows` : none,
    rank: ({ evaluation }) => evaluation?.loss_delta,
  },
  {
    name: "Held-out loss",
    show: ({ eval_loss }) => measure(eval_loss),
    rank: ({ eval_loss }) => eval_loss,
  },
  { name: "Best held-out loss", show: ({ best_eval_loss }) => measure(best_eval_loss) },
  { name: "Training loss", show: ({ final_loss }) => measure(final_loss), rank: ({ final_loss }) => final_loss },
  {
    name: "Tokens a second",
    show: ({ tokens_per_second }) => count(tokens_per_second),
    rank: ({ tokens_per_second }) => tokens_per_second && -tokens_per_second,
  },
  { name: "Tokens seen", show: ({ tokens }) => count(tokens) },
  { name: "Trained for", show: ({ training_seconds }) => duration(training_seconds) },
  { name: "Waited", show: ({ waited_seconds }) => duration(waited_seconds) },
  { name: "Launches", show: ({ launches }) => count(launches) },
  { name: "Most memory", show: ({ peak_memory_bytes }) => bytes(peak_memory_bytes) },
  { name: "Device", show: ({ device, precision }) => [device, precision].filter(Boolean).join(", ") || none },
];

/** What came of runs, what they were told differently, and what they have in common. */
export function RunTable({ comparison: { runs, differences, same } }: { comparison: Comparison }) {
  return (
    <>
      <Card title="What came of them" note="The best of each line is marked." flush>
        <Table label="What came of them" runs={runs}>
          {results.map(({ name, show, rank }) => (
            <Line key={name} name={name} best={bestOf(runs, rank)} values={runs.map(show)} />
          ))}
        </Table>
      </Card>
      <Card title="What they were told differently" flush>
        {differences.length === 0 ? (
          <p className="px-4 pb-4 text-ink-3 sm:px-5">Nothing: they were told the same.</p>
        ) : (
          <Table label="What they were told differently" runs={runs}>
            {differences.map(({ field, values }) => (
              <Line key={field} name={nameOf(field)} values={values.map((value, i) => words(field, value, runs[i]))} />
            ))}
          </Table>
        )}
      </Card>
      <details className="rounded-lg border border-line bg-surface shadow-card">
        <summary className="px-4 py-3 font-semibold sm:px-5">What is the same ({count(same.length)})</summary>
        <dl className="grid gap-x-8 gap-y-2 px-4 pb-4 text-sm sm:grid-cols-2 sm:px-5">
          {same.map(({ field, value }) => (
            <div key={field} className="flex min-w-0 justify-between gap-4">
              <dt className="text-ink-3">{nameOf(field)}</dt>
              <dd className="tabular min-w-0 truncate">{words(field, value, runs[0])}</dd>
            </div>
          ))}
        </dl>
      </details>
    </>
  );
}

function Table({ label, runs, children }: { label: string; runs: Run[]; children: ReactNode }) {
  return (
    <Scroller label={label}>
      <table className="w-full text-left text-sm">
        <thead>
          <tr className="border-line border-b">
            <td className="sticky left-0 bg-surface" />
            {runs.map((run) => (
              <th key={run.id} scope="col" className="min-w-36 max-w-56 truncate px-4 py-2 font-medium">
                {run.name || run.id}
              </th>
            ))}
          </tr>
        </thead>
        <tbody className="divide-y divide-line">{children}</tbody>
      </table>
    </Scroller>
  );
}

function Line({ name, values, best }: { name: string; values: ReactNode[]; best?: number }) {
  return (
    <tr>
      <th scope="row" className="sticky left-0 w-48 min-w-32 bg-surface px-4 py-2 font-normal text-ink-2 sm:px-5">
        {name}
      </th>
      {values.map((value, i) => (
        <td key={i} className={cx("tabular px-4 py-2", i === best && "bg-good-soft font-medium text-good")}>
          {value}
          {i === best && <span className="sr-only"> (best)</span>}
        </td>
      ))}
    </tr>
  );
}

/** Which run is the best; undefined where none is alone the best. */
function bestOf(runs: Run[], rank: Result["rank"]): number | undefined {
  if (!rank) return undefined;
  const ranks = runs.map((run) => rank(run) ?? Number.POSITIVE_INFINITY);
  const least = Math.min(...ranks);
  const known = ranks.filter(Number.isFinite).length;
  return known > 1 && ranks.filter((r) => r === least).length === 1 ? ranks.indexOf(least) : undefined;
}

const ofOthers: Record<string, string> = { dataset_id: "Dataset", model_id: "Base model", queue: "Queue" };

const nameOf = (field: string) => settings.find(({ path }) => path === field)?.label ?? ofOthers[field] ?? field;

/** The value of a field as the form says it. */
function words(field: string, value: unknown, run: Run | undefined): string {
  if (field === "dataset_id") return run?.dataset_name ?? String(value);
  if (field === "model_id") return run?.model_name ?? String(value);
  const setting = settings.find(({ path }) => path === field);
  if (value === null || value === undefined) return none;
  return setting ? shown(setting, value as Value) : String(value);
}
