import { cx } from "./cx";

export type Bar = {
  label: string;
  value: number /** 0 to 1 of the bar, from the right end: shown as cut off. */;
  cut?: number;
  title: string;
};

/** A small histogram. What each bar says is also a list for those who do not see it. */
export function Bars({ bars, label, tone = "bg-chart-1" }: { bars: Bar[]; label: string; tone?: string }) {
  const highest = Math.max(1, ...bars.map(({ value }) => value));
  return (
    <figure aria-label={label} className="min-w-0">
      <div aria-hidden className="flex h-32 items-end gap-0.5">
        {bars.map((bar) => (
          <div
            key={bar.label}
            title={bar.title}
            className="group flex h-full min-w-0 max-w-24 flex-1 flex-col justify-end"
          >
            <div
              className={cx("relative w-full overflow-hidden rounded-t-sm group-hover:opacity-80", tone)}
              style={{ height: bar.value === 0 ? 0 : `max(2px, ${(bar.value / highest) * 100}%)` }}
            >
              {bar.cut ? (
                <div className="absolute inset-y-0 right-0 bg-bad" style={{ width: `${bar.cut * 100}%` }} />
              ) : null}
            </div>
          </div>
        ))}
      </div>
      <div aria-hidden className="mt-1 flex gap-0.5 border-line border-t pt-1 text-ink-3 text-xs">
        {bars.map((bar) => (
          <span key={bar.label} className="min-w-0 max-w-24 flex-1 truncate text-center">
            {bar.label}
          </span>
        ))}
      </div>
      <ul className="sr-only">
        {bars.map((bar) => (
          <li key={bar.label}>{bar.title}</li>
        ))}
      </ul>
    </figure>
  );
}

export type Part = { label: string; value: number; look: string };

/** Parts of a whole as one bar with its legend. */
export function Parts({ parts, label, format }: { parts: Part[]; label: string; format: (n: number) => string }) {
  const there = parts.filter(({ value }) => value > 0);
  return (
    <figure aria-label={label}>
      <div aria-hidden className="flex h-2.5 gap-px overflow-hidden rounded-full bg-sunken">
        {there.map((part) => (
          <div key={part.label} className={part.look} style={{ flexGrow: part.value, minWidth: 3 }} />
        ))}
      </div>
      <ul className="mt-3 flex flex-wrap gap-x-5 gap-y-1.5 text-sm">
        {there.map((part) => (
          <li key={part.label} className="flex items-center gap-2">
            <span aria-hidden className={cx("size-2.5 rounded-sm", part.look)} />
            <span className="text-ink-2">{part.label}</span>
            <span className="tabular font-medium">{format(part.value)}</span>
          </li>
        ))}
      </ul>
    </figure>
  );
}
