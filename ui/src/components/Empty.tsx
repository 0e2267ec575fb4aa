import type { LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

/** Nothing here yet: says what would be, and the one thing to do about it. */
export function Empty({
  icon: Icon,
  title,
  heading,
  children,
  action,
}: {
  icon: LucideIcon;
  title: string;
  /** It is the page: the title is its heading. */
  heading?: boolean;
  children?: ReactNode;
  action?: ReactNode;
}) {
  return (
    <div className="flex flex-col items-center px-4 py-12 text-center">
      <span className="mb-4 flex size-11 items-center justify-center rounded-full bg-sunken text-ink-3">
        <Icon aria-hidden className="size-5" />
      </span>
      {heading ? <h1 className="font-medium">{title}</h1> : <p className="font-medium">{title}</p>}
      {children && <div className="mt-1 max-w-sm text-ink-3 text-sm">{children}</div>}
      {action && <div className="mt-5 flex flex-wrap justify-center gap-2">{action}</div>}
    </div>
  );
}
