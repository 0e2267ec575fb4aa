import Link from "next/link";
import type { ReactNode } from "react";
import { moment } from "@/lib/format";
import { cx } from "./cx";
import { When } from "./When";

/** Rows that each lead somewhere. On a phone a row's parts stand under each other. */
export function List({ label, children }: { label: string; children: ReactNode }) {
  return (
    <ul aria-label={label} className="divide-y divide-line">
      {children}
    </ul>
  );
}

type RowProps = {
  href: string;
  title: ReactNode;
  /** Under the title. */
  note?: ReactNode;
  /** When it was made, after the note. */
  at?: string;
  /** To the right: a status, numbers. */
  children?: ReactNode;
  /** Buttons of the row's own. */
  actions?: ReactNode;
  className?: string;
};

export function Row({ href, title, note, at, children, actions, className }: RowProps) {
  return (
    // The link lies over the whole row, so that the row has to carry the exact time for those who point at it.
    <li
      title={at && moment(at)}
      className={cx("relative flex items-center gap-x-4 px-4 hover:bg-sunken/60 sm:px-5", className)}
    >
      <div className="flex min-h-14 min-w-0 flex-1 flex-col gap-x-6 gap-y-1 py-2.5 sm:flex-row sm:items-center">
        <div className="min-w-0 flex-1">
          <Link
            href={href}
            prefetch={false}
            className="block truncate font-medium outline-offset-[-2px] after:absolute after:inset-0 hover:text-accent-ink focus-visible:outline-none focus-visible:after:outline-2 focus-visible:after:outline-accent-ink focus-visible:after:outline-offset-[-2px]"
          >
            {title}
          </Link>
          {(note || at) && (
            <div className="truncate text-ink-3 text-sm">
              {note}
              {note && at && " · "}
              {at && <When at={at} />}
            </div>
          )}
        </div>
        {children && <div className="flex flex-wrap items-center gap-x-4 gap-y-1 sm:justify-end">{children}</div>}
      </div>
      {actions && <div className="relative z-10 flex items-center gap-1">{actions}</div>}
    </li>
  );
}
