import { Clock, MemoryStick, TriangleAlert } from "lucide-react";
import { cx } from "@/components/cx";
import { bytes, durationRange, plural } from "@/lib/format";
import type { Recommendation } from "./useRecommendation";

const verdicts = {
  green: { text: "It fits.", look: "text-good" },
  amber: { text: "It may just fit.", look: "text-warn" },
  red: { text: "It does not fit, by this estimate.", look: "text-bad" },
};

/** How much memory and time a configuration is going to take. */
export function Prediction({ recommendation, stale }: { recommendation: Recommendation; stale?: boolean }) {
  const { memory, seconds, steps, config } = recommendation;
  const verdict = verdicts[memory.verdict];
  const [low = 0, high = 0] = seconds;
  const scale = Math.max(memory.have, memory.high) * 1.05;
  const part = (n: number) => `${(n / scale) * 100}%`;
  return (
    <div className={cx("grid gap-5 transition-opacity", stale && "opacity-60")} aria-busy={stale}>
      <div>
        <p className="flex items-center gap-2 text-ink-3 text-sm">
          <MemoryStick aria-hidden className="size-4" />
          Memory
        </p>
        <p className="tabular font-semibold text-lg">
          {memory.bytes > 0 ? `about ${bytes(memory.bytes)}` : "not known yet"}
        </p>
        <div aria-hidden className="relative mt-2 h-2.5 rounded-full bg-sunken">
          <div className="absolute inset-y-0 left-0 rounded-full bg-chart-1" style={{ width: part(memory.bytes) }} />
          <div
            className="absolute inset-y-0 bg-chart-1 opacity-35"
            style={{ left: part(memory.low), width: part(memory.high - memory.low) }}
          />
          {memory.have > 0 && <div className="absolute -inset-y-1 w-0.5 bg-ink" style={{ left: part(memory.have) }} />}
        </div>
        <p className="mt-2 text-sm">
          <span className={cx("font-medium", verdict.look)}>
            {memory.verdict !== "green" && <TriangleAlert aria-hidden className="mr-1 inline size-3.5" />}
            {verdict.text}
          </span>{" "}
          <span className="text-ink-3">
            {bytes(memory.low)} to {bytes(memory.high)}
            {memory.have > 0 && `, of ${bytes(memory.have)}`}
          </span>
        </p>
      </div>
      <div>
        <p className="flex items-center gap-2 text-ink-3 text-sm">
          <Clock aria-hidden className="size-4" />
          Time
        </p>
        <p className="tabular font-semibold text-lg">{high > 0 ? durationRange(low, high) : "not known yet"}</p>
        <p className="text-ink-3 text-sm">
          {plural(steps, "step")} of {plural(config.batch_size * config.gradient_accumulation_steps, "row")}
        </p>
      </div>
    </div>
  );
}
