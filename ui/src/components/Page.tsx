"use client";

import { ChevronRight } from "lucide-react";
import Link from "next/link";
import { type ReactNode, useEffect } from "react";

type PageProps = {
  title: string;
  /** What the browser's tab says, if it is more than the title: a job's progress, say. */
  tabTitle?: string;
  /** Beside the title: a status. */
  aside?: ReactNode;
  note?: ReactNode;
  actions?: ReactNode;
  /** The list that this page belongs to. */
  parent?: { href: string; label: string };
  children: ReactNode;
};

export function Page({ title, tabTitle, aside, note, actions, parent, children }: PageProps) {
  useEffect(() => {
    document.title = `${tabTitle ?? title} · VibeFlow`;
  }, [title, tabTitle]);
  return (
    <div className="mx-auto w-full max-w-6xl px-4 pt-5 pb-24 sm:px-8 sm:pt-8">
      <header className="mb-6 flex flex-wrap items-start justify-between gap-x-6 gap-y-3 lg:flex-nowrap">
        <div className="min-w-0 max-w-full">
          {parent && (
            <nav aria-label="Breadcrumb" className="mb-1 flex items-center gap-1 text-ink-3 text-sm">
              <Link href={parent.href} prefetch={false} className="hover:text-ink hover:underline">
                {parent.label}
              </Link>
              <ChevronRight aria-hidden className="size-3.5" />
            </nav>
          )}
          <div className="flex flex-wrap items-center gap-x-3 gap-y-1">
            <h1 className="min-w-0 break-words text-xl">{title}</h1>
            {aside}
          </div>
          {note && <div className="mt-1 max-w-prose text-ink-2">{note}</div>}
        </div>
        {actions && <div className="flex flex-wrap items-center gap-2 lg:shrink-0">{actions}</div>}
      </header>
      {children}
    </div>
  );
}
