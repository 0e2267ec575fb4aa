import { Check, CircleDashed, CircleHelp, LoaderCircle, Minus, Pause, TriangleAlert } from "lucide-react";
import { cx } from "@/components/cx";
import { statusLabel } from "@/components/Status";
import { duration } from "@/lib/format";
import type { Pipeline } from "./queries";
import { type ShownStage, shownStages, stageTitles } from "./stages";

const icons: Record<string, { icon: typeof Check; look: string; spin?: boolean }> = {
  completed: { icon: Check, look: "bg-good-soft text-good" },
  running: { icon: LoaderCircle, look: "bg-accent-soft text-accent-ink", spin: true },
  queued: { icon: LoaderCircle, look: "bg-accent-soft text-accent-ink", spin: true },
  paused: { icon: Pause, look: "bg-warn-soft text-warn" },
  awaiting_confirmation: { icon: CircleHelp, look: "bg-warn-soft text-warn" },
  failed: { icon: TriangleAlert, look: "bg-bad-soft text-bad" },
  cancelled: { icon: Minus, look: "bg-sunken text-ink-3" },
  pending: { icon: CircleDashed, look: "bg-sunken text-ink-3" },
};

type StageLineProps = { pipeline: Pipeline; selected?: string; onSelect?: (stage: string) => void; small?: boolean };

/** A pipeline as one line of stages. */
export function StageLine({ pipeline, selected, onSelect, small }: StageLineProps) {
  const stages = shownStages(pipeline);
  if (small) {
    return (
      <ol aria-label="Stages" className="flex items-center gap-1">
        {stages.map((shown) => (
          <li key={shown.name} title={`${stageTitles[shown.name]}: ${stageWord(shown)}`}>
            <Dot shown={shown} small />
            <span className="sr-only">
              {stageTitles[shown.name]}: {stageWord(shown)}
            </span>
          </li>
        ))}
      </ol>
    );
  }
  return (
    <ol aria-label="Stages" className="grid gap-0 sm:auto-cols-fr sm:grid-flow-col">
      {stages.map((shown, i) => (
        <li key={shown.name} className="relative flex sm:block">
          {i > 0 && (
            <span
              aria-hidden
              className={cx(
                "absolute top-[-0.5rem] left-[1.9rem] h-4 w-px sm:top-[1.65rem] sm:right-1/2 sm:left-[-50%] sm:mx-7 sm:h-px sm:w-auto",
                shown.status === "pending" ? "bg-line" : "bg-line-strong",
              )}
            />
          )}
          <button
            type="button"
            disabled={!onSelect || shown.status === "pending"}
            aria-current={selected === shown.name ? "step" : undefined}
            onClick={() => onSelect?.(shown.name)}
            className={cx(
              "relative flex w-full items-center gap-3 rounded-lg px-4 py-2 text-left sm:flex-col sm:gap-1.5 sm:py-3 sm:text-center",
              selected === shown.name ? "bg-sunken" : "enabled:hover:bg-sunken/60",
            )}
          >
            <Dot shown={shown} />
            <span className="font-medium">{stageTitles[shown.name]}</span>
            <span className="tabular ml-auto text-ink-3 text-sm sm:ml-0">{stageWord(shown)}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function Dot({ shown, small }: { shown: ShownStage; small?: boolean }) {
  const { icon: Icon, look, spin } = icons[shown.status] ?? icons.pending!;
  return (
    <span className={cx("flex shrink-0 items-center justify-center rounded-full", small ? "size-5" : "size-7", look)}>
      <Icon aria-hidden className={cx(small ? "size-3" : "size-4", spin && "motion-safe:animate-spin")} />
    </span>
  );
}

function stageWord({ stage, status }: ShownStage): string {
  if (status === "completed" && stage?.seconds !== undefined) return duration(stage.seconds);
  return statusLabel(status);
}
