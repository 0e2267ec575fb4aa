import { LoaderCircle } from "lucide-react";
import Link from "next/link";
import type { ComponentProps, ReactNode } from "react";
import { cx } from "./cx";

type Look = {
  variant?: "primary" | "secondary" | "quiet" | "danger";
  size?: "md" | "sm";
  icon?: ReactNode;
};

const base =
  "inline-flex shrink-0 select-none items-center justify-center gap-2 whitespace-nowrap rounded font-medium transition-colors disabled:cursor-not-allowed disabled:opacity-55 aria-disabled:cursor-not-allowed aria-disabled:opacity-55";

const variants = {
  primary: "bg-accent text-on-accent hover:bg-accent-hover",
  secondary: "border border-line bg-surface text-ink shadow-card hover:bg-sunken",
  quiet: "text-ink-2 hover:bg-sunken hover:text-ink",
  danger: "bg-bad text-on-bad hover:bg-bad-hover",
};

const sizes = { md: "h-9 px-3.5 text-base", sm: "h-8 px-2.5 text-sm" };

const look = ({ variant = "secondary", size = "md" }: Look) => cx(base, variants[variant], sizes[size]);

export type ButtonProps = Look &
  ComponentProps<"button"> & { /** Shows that the press is being acted on. */ busy?: boolean };

export function Button({
  variant,
  size,
  icon,
  busy,
  children,
  className,
  disabled,
  type = "button",
  ...rest
}: ButtonProps) {
  return (
    <button
      type={type}
      className={cx(look({ variant, size }), className)}
      disabled={disabled || busy}
      aria-busy={busy || undefined}
      {...rest}
    >
      {busy ? <LoaderCircle aria-hidden className="size-4 animate-spin" /> : icon}
      {children}
    </button>
  );
}

/** A link that looks like a button: it goes somewhere. */
export function ButtonLink({ variant, size, icon, children, className, ...rest }: Look & ComponentProps<typeof Link>) {
  return (
    <Link prefetch={false} className={cx(look({ variant, size }), className)} {...rest}>
      {icon}
      {children}
    </Link>
  );
}

/** A button that is an icon only; the label is for those who cannot see it, and its tooltip. */
export function IconButton({
  label,
  className,
  children,
  type = "button",
  ...rest
}: { label: string } & ComponentProps<"button">) {
  return (
    <button
      type={type}
      aria-label={label}
      title={label}
      className={cx(
        "inline-flex size-9 shrink-0 items-center justify-center rounded text-ink-2 transition-colors hover:bg-sunken hover:text-ink disabled:opacity-50",
        className,
      )}
      {...rest}
    >
      {children}
    </button>
  );
}
