"use client";

import { Dialog as Base } from "@base-ui/react/dialog";
import { X } from "lucide-react";
import { IconButton } from "./Button";
import { cx } from "./cx";
import type { DialogProps } from "./Dialog";

const widths = { sm: "sm:max-w-md", md: "sm:max-w-xl", lg: "sm:max-w-3xl" };

export default function DialogPopup({
  open,
  onClose,
  title,
  description,
  children,
  footer,
  initialFocus,
  size = "sm",
  role,
  stays,
}: DialogProps) {
  return (
    <Base.Root open={open} disablePointerDismissal={stays} onOpenChange={(next) => !next && onClose()}>
      <Base.Portal>
        <Base.Backdrop className="fixed inset-0 z-40 bg-[rgb(10_10_15/0.5)]" />
        <Base.Popup
          {...(role && { role })}
          initialFocus={initialFocus}
          className={cx(
            "fixed inset-x-0 bottom-0 z-50 flex max-h-[92dvh] w-full animate-rise flex-col rounded-t-lg border border-line bg-surface shadow-raised sm:inset-auto sm:top-1/2 sm:left-1/2 sm:-translate-x-1/2 sm:-translate-y-1/2 sm:rounded-lg",
            widths[size],
          )}
        >
          <div className="pt-4 pr-14 pl-5">
            <Base.Title className="break-words text-lg">{title}</Base.Title>
            {description && <Base.Description className="mt-1 text-ink-2">{description}</Base.Description>}
          </div>
          <div className="min-h-0 overflow-y-auto px-5 py-4">{children}</div>
          {footer && <div className="flex flex-wrap justify-end gap-2 border-line border-t px-5 py-3">{footer}</div>}
          {/* Last, for the first control gets the focus. */}
          <Base.Close render={<IconButton label="Close" className="absolute top-3 right-3" />}>
            <X aria-hidden className="size-4" />
          </Base.Close>
        </Base.Popup>
      </Base.Portal>
    </Base.Root>
  );
}
