import type { ReactNode } from "react";
import { cx } from "./cx";

type ScrollerProps = {
  /** What is in it, for those who come to it by keyboard and hear where they are. */
  label: string;
  className?: string;
  children: ReactNode;
};

/** What may be wider than its place, and scrolls in it: by keyboard as well, for which it takes the focus and has a name. */
export function Scroller({ label, className, children }: ScrollerProps) {
  // Relative, so that what is placed within, as words for screen readers are, scrolls with it and does not widen the page.
  return (
    <div role="region" aria-label={label} tabIndex={0} className={cx("scroll-x relative", className)}>
      {children}
    </div>
  );
}
