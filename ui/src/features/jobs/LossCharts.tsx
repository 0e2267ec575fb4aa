"use client";

import { Download } from "lucide-react";
import { lazy, Suspense, useDeferredValue, useId, useMemo, useState } from "react";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Segmented } from "@/components/Segmented";
import { Skeleton } from "@/components/Skeleton";
import { measure } from "@/lib/format";
import type { Columns } from "@/lib/thin";
import { type Curves, ends, type Measure, smooth } from "./curves";

const Chart = lazy(() => import("@/components/Chart").then(({ Chart }) => ({ default: Chart })));

export type Mark = { at: number; label: string };

type LossChartsProps = {
  jobId: string;
  curves: Curves /** Counts the changes of curves. */;
  version: number;
  marks: Mark[];
};

/** Loss of training and held-out rows over the steps, and below it what steers the training. */
export function LossCharts({ jobId, curves, version, marks }: LossChartsProps) {
  const id = useId();
  const [smoothing, setSmoothing] = useState(0.6);
  const [scale, setScale] = useState<"linear" | "log">("linear");
  const [second, setSecond] = useState<Measure>("learning_rate");
  const sync = `job-${jobId}`;

  // biome-ignore lint/correctness/useExhaustiveDependencies: curves change in place; the version says when
  const loss = useMemo(() => {
    const [raw, heldOut] = [curves.of("loss"), curves.of("eval_loss")];
    return smoothing > 0 ? [curves.steps, raw, smooth(raw, smoothing), heldOut] : [curves.steps, raw, heldOut];
  }, [curves, version, smoothing]) as Columns;
  // In a frame of its own: two charts of a long curve are more than one has time for.
  const later = useDeferredValue(version);
  // biome-ignore lint/correctness/useExhaustiveDependencies: as above
  const other = useMemo(() => [curves.steps, curves.of(second)], [curves, later, second]) as Columns;

  const lines = [
    { label: smoothing > 0 ? "Measured" : "Training", colour: "--chart-1", faint: smoothing > 0 },
    ...(smoothing > 0 ? [{ label: "Training", colour: "--chart-1" }] : []),
    { label: "Held out", colour: "--chart-2", points: true },
  ];
  const save = () => import("./saveCurves").then(({ saveCurves }) => saveCurves(jobId, curves));
  return (
    <Card
      title="Loss"
      flush
      actions={
        <>
          <label htmlFor={id} className="flex items-center gap-2 text-ink-3 text-sm">
            Smooth
            <input
              id={id}
              type="range"
              min={0}
              max={0.98}
              step={0.02}
              value={smoothing}
              onChange={(event) => setSmoothing(event.target.valueAsNumber)}
              className="w-24 accent-accent"
            />
          </label>
          <Segmented
            label="Scale"
            value={scale}
            onChange={setScale}
            options={[
              { value: "linear", label: "Linear" },
              { value: "log", label: "Log" },
            ]}
          />
          <Button size="sm" variant="quiet" icon={<Download aria-hidden className="size-4" />} onClick={save}>
            CSV
          </Button>
        </>
      }
    >
      <div className="px-2 pb-3 sm:px-4">
        {curves.length === 0 ? (
          <div className="flex h-72 items-center justify-center text-ink-3">The first step has not ended yet.</div>
        ) : (
          <Suspense fallback={<Skeleton className="h-72" />}>
            <Chart label={summary(curves)} lines={lines} data={loss} log={scale === "log"} sync={sync} marks={marks} />
          </Suspense>
        )}
        <div className="mt-2 flex justify-end">
          <Segmented
            label="Also show"
            value={second}
            onChange={setSecond}
            options={[
              { value: "learning_rate", label: "Rate" },
              { value: "grad_norm", label: "Gradient" },
              { value: "tokens_per_second", label: "Tokens/s" },
            ]}
          />
        </div>
        {curves.length > 0 && (
          <Suspense fallback={<Skeleton className="h-40" />}>
            <Chart
              label={`${names[second]} over the steps`}
              lines={[{ label: names[second], colour: "--chart-3" }]}
              data={other}
              height={130}
              sync={sync}
            />
          </Suspense>
        )}
      </div>
    </Card>
  );
}

const names: Record<Measure, string> = {
  loss: "Training",
  eval_loss: "Held out",
  learning_rate: "Learning rate",
  grad_norm: "Gradient norm",
  tokens_per_second: "Tokens a second",
};

/** The chart in a sentence, for those who do not see it. */
function summary(curves: Curves): string {
  const [first, last] = ends(curves.of("loss"));
  const [judged, judgedLast] = ends(curves.of("eval_loss"));
  const heldOut =
    judged !== undefined ? ` On held-out rows it was ${measure(judged)} and is ${measure(judgedLast)}.` : "";
  return `The training loss went from ${measure(first)} to ${measure(last)} over ${curves.steps.at(-1) ?? 0} steps.${heldOut}`;
}
