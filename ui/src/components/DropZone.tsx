"use client";

import { FileUp } from "lucide-react";
import { useId, useState } from "react";
import { cx } from "./cx";

type DropZoneProps = { onFile: (file: File) => void; accept: string; title: string; hint: string; disabled?: boolean };

/** Takes a file by drop, click or keyboard; the input underneath is a plain one. */
export function DropZone({ onFile, accept, title, hint, disabled }: DropZoneProps) {
  const id = useId();
  const [over, setOver] = useState(false);
  return (
    <div
      onDragOver={(event) => {
        event.preventDefault();
        setOver(!disabled);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        const file = event.dataTransfer.files[0];
        if (file && !disabled) onFile(file);
      }}
      className={cx(
        "relative flex flex-col items-center rounded-lg border-2 border-dashed px-4 py-10 text-center transition-colors has-focus-visible:outline-2 has-focus-visible:outline-accent-ink",
        over ? "border-accent bg-accent-soft" : "border-line-strong/50 hover:border-line-strong",
      )}
    >
      <FileUp aria-hidden className="mb-3 size-7 text-ink-3" />
      <label htmlFor={id} className="cursor-pointer font-medium after:absolute after:inset-0">
        {title}
      </label>
      <span id={`${id}-hint`} className="mt-1 max-w-md text-ink-3 text-sm">
        {hint}
      </span>
      <input
        id={id}
        type="file"
        accept={accept}
        disabled={disabled}
        aria-describedby={`${id}-hint`}
        className="sr-only"
        onChange={(event) => {
          const file = event.target.files?.[0];
          event.target.value = "";
          if (file) onFile(file);
        }}
      />
    </div>
  );
}
