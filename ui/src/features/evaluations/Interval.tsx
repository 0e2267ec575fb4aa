import { measure } from "@/lib/format";
import type { EvaluationResult } from "./queries";

const width = 600;
const height = 84;
const margin = 24;

/** The change of the loss with its 95 % interval, against zero: a verdict is clear when the whole bar lies on one side. */
export function Interval({ result }: { result: EvaluationResult }) {
  const [low = 0, high = 0] = result.loss_delta_ci;
  const delta = result.loss_delta ?? (low + high) / 2;
  const reach = Math.max(Math.abs(low), Math.abs(high)) * 1.15 || 1;
  const x = (value: number) => margin + ((value + reach) / (2 * reach)) * (width - 2 * margin);
  const tone = high < 0 ? "fill-good" : low > 0 ? "fill-bad" : "fill-ink-3";
  return (
    <figure>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        className="w-full max-w-2xl"
        role="img"
        aria-label={`The loss changes by ${measure(delta)}, with 95 % certainty between ${measure(low)} and ${measure(high)}`}
      >
        <line x1={margin} x2={width - margin} y1={36} y2={36} className="stroke-line" strokeWidth={2} />
        <line
          x1={x(0)}
          x2={x(0)}
          y1={14}
          y2={58}
          className="stroke-line-strong"
          strokeWidth={1.5}
          strokeDasharray="3 3"
        />
        <rect
          x={x(low)}
          width={Math.max(3, x(high) - x(low))}
          y={29}
          height={14}
          rx={7}
          className={tone}
          opacity={0.35}
        />
        <circle cx={x(delta)} cy={36} r={7} className={tone} />
        <text x={x(0)} y={10} textAnchor="middle" className="fill-ink-3 text-[11px]">
          no change
        </text>
        <text x={x(delta)} y={62} textAnchor="middle" className="fill-ink font-semibold text-[13px]">
          {delta > 0 ? "+" : ""}
          {measure(delta)}
        </text>
        <text x={margin} y={78} className="fill-ink-3 text-[11px]">
          ← better
        </text>
        <text x={width - margin} y={78} textAnchor="end" className="fill-ink-3 text-[11px]">
          worse →
        </text>
      </svg>
      <figcaption className="text-ink-3 text-sm">
        Change of the loss on held-out rows: {measure(delta)}, with 95 % certainty between {measure(low)} and{" "}
        {measure(high)}.
      </figcaption>
    </figure>
  );
}
