"use client";

import { type ReactNode, useId } from "react";
import { cx } from "./cx";

type SegmentedProps<T extends string> = {
  label: string;
  value: T;
  onChange: (value: T) => void;
  options: { value: T; label: ReactNode }[];
};

/** One of a few, all in sight. Radio buttons underneath, so the arrow keys work. */
export function Segmented<T extends string>({ label, value, onChange, options }: SegmentedProps<T>) {
  const name = useId();
  return (
    <fieldset className="inline-flex w-fit rounded bg-sunken p-0.5">
      <legend className="sr-only">{label}</legend>
      {options.map((option) => (
        <label
          key={option.value}
          className={cx(
            "relative flex h-8 cursor-pointer items-center gap-1.5 rounded-sm px-2.5 font-medium text-sm has-focus-visible:outline-2 has-focus-visible:outline-accent-ink",
            option.value === value ? "bg-surface text-ink shadow-card" : "text-ink-2 hover:text-ink",
          )}
        >
          <input
            type="radio"
            name={name}
            value={option.value}
            checked={option.value === value}
            onChange={() => onChange(option.value)}
            className="sr-only"
          />
          {option.label}
        </label>
      ))}
    </fieldset>
  );
}
