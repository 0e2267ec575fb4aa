import { cx } from "./cx";

export type Stack = { label: string; title: string; values: number[] };
export type StackPart = { label: string; look: string };

type StackedBarsProps = {
  label: string;
  parts: StackPart[];
  stacks: Stack[];
  format: (value: number) => string;
};

/** Parts over time, one stack for each stretch of it. The same as a table for those who do not see it. */
export function StackedBars({ label, parts, stacks, format }: StackedBarsProps) {
  const highest = roundUp(Math.max(...stacks.map(({ values }) => total(values)), 0));
  return (
    <figure aria-label={label} className="min-w-0">
      <Legend parts={parts} />
      <div aria-hidden className="mt-3 flex gap-2">
        <div className="tabular flex h-36 w-12 flex-col justify-between text-right text-ink-3 text-xs leading-none">
          <span>{format(highest)}</span>
          <span>{format(highest / 2)}</span>
          <span>0</span>
        </div>
        <div className="relative h-36 min-w-0 flex-1">
          {[0, 50, 100].map((at) => (
            <div key={at} className="absolute inset-x-0 border-line border-t" style={{ top: `${at}%` }} />
          ))}
          <div className="relative flex h-full items-end gap-px">
            {stacks.map((stack) => (
              <Column key={stack.label} stack={stack} parts={parts} highest={highest} />
            ))}
          </div>
        </div>
      </div>
      <div aria-hidden className="mt-1 flex justify-between pl-14 text-ink-3 text-xs">
        <span>{stacks[0]?.label}</span>
        {stacks.length > 2 && <span>{stacks[Math.floor(stacks.length / 2)]?.label}</span>}
        <span>{stacks.at(-1)?.label}</span>
      </div>
      <Table label={label} parts={parts} stacks={stacks} format={format} />
    </figure>
  );
}

function Legend({ parts }: { parts: StackPart[] }) {
  return (
    <ul className="flex flex-wrap gap-x-4 gap-y-1 text-ink-2 text-xs">
      {parts.map((part) => (
        <li key={part.label} className="flex items-center gap-1.5">
          <span aria-hidden className={cx("size-2.5 rounded-sm", part.look)} />
          {part.label}
        </li>
      ))}
    </ul>
  );
}

type ColumnProps = { stack: Stack; parts: StackPart[]; highest: number };

function Column({ stack, parts, highest }: ColumnProps) {
  const sum = total(stack.values);
  return (
    <div title={stack.title} className="group flex h-full min-w-0 max-w-16 flex-1 flex-col justify-end">
      {sum > 0 && (
        <div
          className="flex flex-col-reverse overflow-hidden rounded-t-sm group-hover:opacity-75"
          style={{ height: `max(2px, ${(sum / highest) * 100}%)` }}
        >
          {parts.map((part, i) => (
            <div key={part.label} className={part.look} style={{ flexGrow: stack.values[i] }} />
          ))}
        </div>
      )}
    </div>
  );
}

function Table({ label, parts, stacks, format }: StackedBarsProps) {
  return (
    // A table does not shrink to a pixel by itself, and would lengthen the page.
    <div className="sr-only">
      <table>
        <caption>{label}</caption>
        <thead>
          <tr>
            <th scope="col">When</th>
            {parts.map((part) => (
              <th key={part.label} scope="col">
                {part.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {stacks.map((stack) => (
            <tr key={stack.label}>
              <th scope="row">{stack.label}</th>
              {parts.map((part, i) => (
                <td key={part.label}>{format(stack.values[i] ?? 0)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0);

/** The end of an axis: 1, 2 or 5 and zeros, of which the half is a number to read as well. */
export function roundUp(value: number): number {
  if (value <= 2) return 2;
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 6, 8, 10].map((n) => n * unit).find((end) => end >= value)!;
}
