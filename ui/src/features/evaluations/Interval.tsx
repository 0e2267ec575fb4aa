import { cx } from "@/components/cx";
import { measure } from "@/lib/format";
import type { EvaluationResult } from "./queries";

/** The change of the loss with its 95 % interval, against zero: a verdict is clear when the whole bar lies on one side. */
export function Interval({ result }: { result: EvaluationResult }) {
  const [low = 0, high = 0] = result.loss_delta_ci;
  const delta = result.loss_delta ?? (low + high) / 2;
  const reach = Math.max(Math.abs(low), Math.abs(high)) * 1.2 || 1;
  const at = (value: number) => `${((value + reach) / (2 * reach)) * 100}%`;
  const tone = high < 0 ? "bg-good" : low > 0 ? "bg-bad" : "bg-ink-3";
  return (
    <figure className="max-w-2xl">
      <div aria-hidden>
        <div className="relative flex h-5 justify-between text-ink-3 text-xs">
          <span>← better</span>
          <span className="-translate-x-1/2 absolute left-1/2">no change</span>
          <span>worse →</span>
        </div>
        <div className="relative h-10">
          <div className="absolute inset-x-0 top-1/2 h-0.5 bg-line" />
          <div className="absolute inset-y-1 left-1/2 border-line-strong border-l border-dashed" />
          <div
            className={cx("absolute top-1/2 h-3.5 min-w-1 -translate-y-1/2 rounded-full opacity-35", tone)}
            style={{ left: at(low), right: `calc(100% - ${at(high)})` }}
          />
          <div
            className={cx("-translate-x-1/2 -translate-y-1/2 absolute top-1/2 size-3.5 rounded-full", tone)}
            style={{ left: at(delta) }}
          />
        </div>
        <div className="relative h-6">
          <span className="tabular -translate-x-1/2 absolute font-semibold" style={{ left: at(delta) }}>
            {delta > 0 ? "+" : ""}
            {measure(delta)}
          </span>
        </div>
      </div>
      <figcaption className="mt-1 text-ink-3 text-sm">
        Change of the loss on held-out rows: {measure(delta)}, with 95 % certainty between {measure(low)} and{" "}
        {measure(high)}.
      </figcaption>
    </figure>
  );
}
