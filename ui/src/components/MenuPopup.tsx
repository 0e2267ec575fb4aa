"use client";

import { Menu as Base } from "@base-ui/react/menu";
import { cx } from "./cx";
import type { MenuProps } from "./Menu";

/** The menu itself, open from the start: it is loaded when it is first wanted. */
export default function MenuPopup({ trigger, entries, align = "end" }: MenuProps) {
  return (
    <Base.Root defaultOpen>
      <Base.Trigger render={trigger} />
      <Base.Portal>
        <Base.Positioner align={align} sideOffset={6} className="z-50">
          <Base.Popup className="min-w-48 max-w-80 animate-rise rounded-lg border border-line bg-surface p-1 shadow-raised">
            {entries.map((entry, i) =>
              entry === "line" ? (
                <Base.Separator key={i} className="my-1 h-px bg-line" />
              ) : (
                <Base.Item
                  key={entry.label}
                  disabled={entry.disabled}
                  onClick={entry.onSelect}
                  className={cx(
                    "flex min-h-9 cursor-pointer items-center gap-2.5 rounded px-2.5 py-1.5 outline-none data-[disabled]:cursor-not-allowed data-[highlighted]:bg-sunken data-[disabled]:opacity-50",
                    entry.danger && "text-bad",
                  )}
                >
                  {entry.icon}
                  <span className="min-w-0 flex-1">
                    <span className="block truncate">{entry.label}</span>
                    {entry.note && <span className="block truncate text-ink-3 text-xs">{entry.note}</span>}
                  </span>
                </Base.Item>
              ),
            )}
          </Base.Popup>
        </Base.Positioner>
      </Base.Portal>
    </Base.Root>
  );
}
