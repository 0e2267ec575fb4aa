"use client";

import { FileUp } from "lucide-react";
import { useId, useState } from "react";
import { droppedFiles } from "@/lib/dropped";
import { cx } from "./cx";

type DropZoneProps = {
  /** At least one; more than one only where multiple. */
  onFiles: (files: File[]) => void;
  accept?: string;
  /** Several files, or a folder dropped as it is. */
  multiple?: boolean;
  title: string;
  hint: string;
  disabled?: boolean;
};

/** Takes files by drop, click or keyboard; the input underneath is a plain one. */
export function DropZone({ onFiles, accept, multiple, title, hint, disabled }: DropZoneProps) {
  const id = useId();
  const [over, setOver] = useState(false);
  const take = (files: File[]) => {
    if (files.length > 0) onFiles(multiple ? files : files.slice(0, 1));
  };
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
        if (!disabled) void droppedFiles(event.dataTransfer).then(take);
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
        multiple={multiple}
        disabled={disabled}
        aria-describedby={`${id}-hint`}
        className="sr-only"
        onChange={(event) => {
          const files = [...(event.target.files ?? [])];
          event.target.value = "";
          take(files);
        }}
      />
    </div>
  );
}
