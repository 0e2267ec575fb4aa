"use client";

import { type KeyboardEvent, type ReactNode, Suspense, useEffect, useId, useRef } from "react";
import { cx } from "./cx";
import { SkeletonRows } from "./Skeleton";

type Tab = { value: string; label: string; content: ReactNode };

type TabsProps = { tabs: Tab[]; value: string; onChange: (value: string) => void; label: string };

/** One of several views. The arrow keys, Home and End go through the tabs, as the ARIA pattern has it. */
export function Tabs({ tabs, value, onChange, label }: TabsProps) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const at = Math.max(
    0,
    tabs.findIndex((tab) => tab.value === value),
  );
  useEffect(() => show(list.current!, at), [at]);
  const onKey = (event: KeyboardEvent<HTMLDivElement>) => {
    const last = tabs.length - 1;
    const targets: Record<string, number> = {
      ArrowRight: at === last ? 0 : at + 1,
      ArrowLeft: at === 0 ? last : at - 1,
      Home: 0,
      End: last,
    };
    const to = targets[event.key];
    if (to === undefined) return;
    event.preventDefault();
    onChange(tabs[to]!.value);
    event.currentTarget.querySelectorAll<HTMLElement>("[role=tab]")[to]?.focus();
  };
  return (
    <div>
      <div
        ref={list}
        role="tablist"
        aria-label={label}
        onKeyDown={onKey}
        className="scroll-x relative mb-5 flex gap-1 overflow-y-hidden border-line border-b pb-px [scrollbar-width:none]"
      >
        {tabs.map((tab, i) => (
          <button
            key={tab.value}
            type="button"
            role="tab"
            id={`${id}-tab-${tab.value}`}
            aria-selected={i === at}
            aria-controls={i === at ? `${id}-panel` : undefined}
            tabIndex={i === at ? 0 : -1}
            onClick={() => onChange(tab.value)}
            className={cx(
              "-mb-px h-10 shrink-0 border-b-2 px-3 font-medium outline-offset-[-2px]",
              i === at ? "border-accent-ink text-ink" : "border-transparent text-ink-3 hover:text-ink",
            )}
          >
            {tab.label}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-tab-${tabs[at]!.value}`}>
        <Suspense fallback={<SkeletonRows />}>{tabs[at]!.content}</Suspense>
      </div>
    </div>
  );
}

/** Scrolls the tabs, and nothing else, until one of them is in sight: on a phone the address may name the last. */
function show(list: HTMLElement, at: number) {
  const tab = list.querySelectorAll<HTMLElement>("[role=tab]")[at]!;
  const left = Math.min(list.scrollLeft, tab.offsetLeft);
  list.scrollLeft = Math.max(left, tab.offsetLeft + tab.offsetWidth - list.clientWidth);
}
