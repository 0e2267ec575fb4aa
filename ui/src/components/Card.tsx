import type { ReactNode } from "react";
import { cx } from "./cx";

type CardProps = {
  title?: ReactNode;
  /** One line under the title. */
  note?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
  className?: string;
  /** Content that reaches the edges: tables, charts. */
  flush?: boolean;
  id?: string;
};

export function Card({ title, note, actions, children, className, flush, id }: CardProps) {
  return (
    <section
      id={id}
      className={cx(
        "min-w-0 rounded-lg border border-line bg-surface shadow-card",
        flush && "overflow-hidden",
        className,
      )}
    >
      {(title || actions) && (
        <header className="flex min-h-12 flex-wrap items-center justify-between gap-x-4 gap-y-2 px-4 pt-3 sm:px-5">
          <div className="min-w-0">
            {title && <h2 className="text-base">{title}</h2>}
            {note && <p className="text-ink-3 text-sm">{note}</p>}
          </div>
          {actions && <div className="flex flex-wrap items-center gap-2">{actions}</div>}
        </header>
      )}
      <div className={flush ? "pt-2" : "p-4 sm:px-5"}>{children}</div>
    </section>
  );
}

/** A number that matters, with its name. */
export function Stat({ label, value, note }: { label: string; value: ReactNode; note?: ReactNode }) {
  return (
    <div className="min-w-0">
      <dt className="text-ink-3 text-sm">{label}</dt>
      <dd className="tabular truncate font-semibold text-lg">{value}</dd>
      {note && <dd className="truncate text-ink-3 text-xs">{note}</dd>}
    </div>
  );
}

export function Stats({ children, className }: { children: ReactNode; className?: string }) {
  return <dl className={cx("grid grid-cols-2 gap-x-4 gap-y-4 sm:grid-cols-4", className)}>{children}</dl>;
}

/** Facts as a list of names and values. */
export function Facts({ items }: { items: [string, ReactNode][] }) {
  return (
    <dl className="grid grid-cols-[minmax(7rem,auto)_1fr] items-baseline gap-x-6 gap-y-2 text-sm">
      {items.map(([name, value]) => (
        <div key={name} className="contents">
          <dt className="text-ink-3">{name}</dt>
          <dd className="tabular min-w-0 break-words">{value}</dd>
        </div>
      ))}
    </dl>
  );
}
