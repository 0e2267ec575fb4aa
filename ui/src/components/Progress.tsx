import { cx } from "./cx";

type ProgressProps = {
  /** 0 to 1; undefined while it is not known. */
  value: number | undefined;
  label: string;
  tone?: "accent" | "warn" | "bad" | "good" | "idle";
  className?: string;
};

const fills = { accent: "fill-accent-ink", warn: "fill-warn", bad: "fill-bad", good: "fill-good", idle: "fill-ink-3" };

export function Progress({ value, label, tone = "accent", className }: ProgressProps) {
  const known = value !== undefined && Number.isFinite(value);
  const percent = known ? Math.min(100, Math.max(0, value * 100)) : 0;
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={known ? Math.round(percent) : undefined}
      className={cx("h-1.5 w-full overflow-hidden rounded-full bg-sunken", className)}
    >
      {/* SVG attributes need no inline style, which the content security policy forbids in what is prerendered. */}
      <svg aria-hidden className="block size-full" preserveAspectRatio="none" viewBox="0 0 100 1">
        <rect
          className={cx(fills[tone], "transition-[width] duration-300", !known && "motion-safe:animate-pulse")}
          height="1"
          width={known ? percent : 100}
          opacity={known ? 1 : 0.4}
        />
      </svg>
    </div>
  );
}
