"use client";

import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { Button, IconButton } from "./Button";
import { cx } from "./cx";
import { Scroller } from "./Scroller";
import { toast } from "./Toasts";

/** Copies text and says so, to eyes and ears. */
export function useCopy() {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2_000);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (text: string) => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      // Not there on plain HTTP beyond loopback, and a browser may forbid it.
      toast.bad("It was not copied", "Mark it and press Ctrl C");
    }
  };
  return { copied, copy };
}

export function CopyButton({ text, label = "Copy", iconOnly }: { text: string; label?: string; iconOnly?: boolean }) {
  const { copied, copy } = useCopy();
  const icon = copied ? <Check aria-hidden className="size-4 text-good" /> : <Copy aria-hidden className="size-4" />;
  return (
    <>
      <span aria-live="polite" className="sr-only">
        {copied ? "Copied" : ""}
      </span>
      {iconOnly ? (
        <IconButton label={label} className="size-7" onClick={() => copy(text)}>
          {icon}
        </IconButton>
      ) : (
        <Button size="sm" icon={icon} onClick={() => copy(text)}>
          {copied ? "Copied" : label}
        </Button>
      )}
    </>
  );
}

export function CodeBlock({ code, label, className }: { code: string; label: string; className?: string }) {
  return (
    <div className={cx("relative rounded-lg border border-line bg-sunken", className)}>
      <div className="absolute top-2 right-2 rounded bg-sunken">
        <CopyButton text={code} label={`Copy ${label}`} iconOnly />
      </div>
      <Scroller label={label} className="max-h-96 overflow-y-auto">
        <pre className="w-max p-4 pr-12 font-mono text-sm">{code}</pre>
      </Scroller>
    </div>
  );
}

/** An id: short to look at, whole to copy. */
export function Id({ id }: { id: string }) {
  return (
    <span className="inline-flex min-w-0 max-w-full items-center gap-1 align-middle">
      <code title={id} className="truncate font-mono text-ink-2 text-xs">
        {id}
      </code>
      <CopyButton text={id} label={`Copy ${id}`} iconOnly />
    </span>
  );
}
