"use client";

import { type ComponentProps, createContext, type ReactNode, useContext, useId } from "react";
import { cx } from "./cx";

type FieldContext = { id: string; describedBy?: string; invalid: boolean };
const Context = createContext<FieldContext | undefined>(undefined);

type FieldProps = {
  label: ReactNode;
  hint?: ReactNode;
  error?: ReactNode;
  /** Beside the label: a link, a unit. */
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
};

/** A control with its label, hint and error, tied together for those who listen. */
export function Field({ label, hint, error, aside, children, className }: FieldProps) {
  const id = useId();
  const describedBy = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  return (
    <Context.Provider value={{ id, describedBy, invalid: Boolean(error) }}>
      <div className={cx("flex min-w-0 flex-col gap-1", className)}>
        <div className="flex min-h-6 items-center justify-between gap-2">
          <label htmlFor={id} className="font-medium text-sm">
            {label}
          </label>
          {aside && <span className="text-ink-3 text-xs">{aside}</span>}
        </div>
        {children}
        {hint && (
          <p id={`${id}-hint`} className="text-ink-3 text-sm">
            {hint}
          </p>
        )}
        {error && (
          <p id={`${id}-error`} className="text-bad text-sm">
            {error}
          </p>
        )}
      </div>
    </Context.Provider>
  );
}

const control =
  "w-full min-w-0 rounded border bg-surface px-3 text-base text-ink placeholder:text-ink-3 hover:border-ink-3 disabled:opacity-60 aria-invalid:border-bad border-line-strong";

function useControl() {
  const field = useContext(Context);
  return field && { id: field.id, "aria-describedby": field.describedBy, "aria-invalid": field.invalid || undefined };
}

export function Input({ className, ...rest }: ComponentProps<"input">) {
  return <input {...useControl()} className={cx(control, "h-9", className)} {...rest} />;
}

export function Textarea({ className, ...rest }: ComponentProps<"textarea">) {
  return <textarea {...useControl()} className={cx(control, "min-h-20 py-2", className)} {...rest} />;
}

/** The browser's own select: the best one on a phone, and it needs no script. */
export function Select({ className, children, ...rest }: ComponentProps<"select">) {
  return (
    <select {...useControl()} className={cx(control, "h-9 pr-8", className)} {...rest}>
      {children}
    </select>
  );
}

export function Checkbox({
  label,
  hint,
  className,
  ...rest
}: { label: ReactNode; hint?: ReactNode } & Omit<ComponentProps<"input">, "type">) {
  const id = useId();
  return (
    <div className={cx("flex gap-2.5", className)}>
      <input
        type="checkbox"
        id={id}
        aria-describedby={hint ? `${id}-hint` : undefined}
        className="mt-0.5 size-4 shrink-0 accent-accent"
        {...rest}
      />
      <div className="min-w-0">
        <label htmlFor={id} className="font-medium text-sm">
          {label}
        </label>
        {hint && (
          <p id={`${id}-hint`} className="text-ink-3 text-sm">
            {hint}
          </p>
        )}
      </div>
    </div>
  );
}
