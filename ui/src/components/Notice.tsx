import { CircleCheck, Info, OctagonAlert, TriangleAlert } from "lucide-react";
import type { ReactNode } from "react";
import { asProblem } from "@/lib/api/problem";
import { Button } from "./Button";
import { cx } from "./cx";

const kinds = {
  info: { icon: Info, look: "bg-accent-soft text-accent-ink" },
  good: { icon: CircleCheck, look: "bg-good-soft text-good" },
  warn: { icon: TriangleAlert, look: "bg-warn-soft text-warn" },
  bad: { icon: OctagonAlert, look: "bg-bad-soft text-bad" },
};

type NoticeProps = {
  kind?: keyof typeof kinds;
  title?: ReactNode;
  children?: ReactNode;
  actions?: ReactNode;
  className?: string;
};

/** Something to know about what is on the page. */
export function Notice({ kind = "info", title, children, actions, className }: NoticeProps) {
  const { icon: Icon, look } = kinds[kind];
  return (
    <div role={kind === "bad" ? "alert" : "status"} className={cx("flex gap-3 rounded-lg px-4 py-3", look, className)}>
      <Icon aria-hidden className="mt-0.5 size-4 shrink-0" />
      <div className="min-w-0 flex-1">
        {title && <p className="break-words font-medium">{title}</p>}
        {children && <div className="break-words text-ink-2">{children}</div>}
        {actions && <div className="mt-2 flex flex-wrap gap-2">{actions}</div>}
      </div>
    </div>
  );
}

/** An error: what went wrong, what to do, and an id to look it up in the server's log. */
export function ErrorNotice({
  error,
  title,
  onRetry,
  className,
}: {
  error: unknown;
  title?: string;
  onRetry?: () => void;
  className?: string;
}) {
  const problem = asProblem(error);
  return (
    <Notice
      kind="bad"
      className={className}
      title={title ?? sentence(problem.message)}
      actions={
        onRetry &&
        problem.status !== 404 && (
          <Button size="sm" onClick={onRetry}>
            Try again
          </Button>
        )
      }
    >
      {title && <p>{sentence(problem.message)}</p>}
      {problem.remedy && <p>{sentence(problem.remedy)}</p>}
      {problem.status === 404 && !problem.remedy && <p>It may have been deleted.</p>}
      {problem.requestId && problem.status >= 500 && (
        <p className="mt-1 text-xs">
          Request <code className="select-all font-mono">{problem.requestId}</code>
        </p>
      )}
    </Notice>
  );
}

type RunError = { code: string; message: string; field?: string; remedy?: string; detail?: string };

/** Why a run failed, as the API tells it. */
export function RunErrorNotice({
  error,
  title,
  actions,
}: {
  error: RunError | undefined;
  title: string;
  actions?: ReactNode;
}) {
  if (!error?.message) return null;
  return (
    <Notice kind="bad" title={title} actions={actions}>
      <p>{sentence(error.message)}</p>
      {error.remedy && <p>To mend it: {error.remedy}.</p>}
      {error.detail && (
        <details className="mt-2">
          <summary className="text-sm">Details</summary>
          <pre className="scroll-x mt-1 max-h-64 whitespace-pre-wrap font-mono text-xs">{error.detail}</pre>
        </details>
      )}
    </Notice>
  );
}

/** Messages of the API begin in lower case; a page's sentences do not. */
export function sentence(text: string): string {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
