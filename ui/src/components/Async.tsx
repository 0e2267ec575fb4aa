import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { ErrorNotice } from "./Notice";
import { SkeletonRows } from "./Skeleton";

type AsyncProps<T> = {
  query: UseQueryResult<T, unknown>;
  children: (data: T) => ReactNode;
  loading?: ReactNode;
  /** What to show instead of an empty answer. */
  empty?: { when: (data: T) => boolean; show: ReactNode };
};

/** Loading, error, nothing, or what was asked for. Data that is there is shown, whatever became of the last try. */
export function Async<T>({ query, children, loading = <SkeletonRows />, empty }: AsyncProps<T>) {
  if (query.data !== undefined) return empty?.when(query.data) ? empty.show : children(query.data);
  if (query.error) {
    return (
      <div className="p-4 sm:px-5">
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </div>
    );
  }
  return loading;
}
