"use client";

import { useInfiniteQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { lazy, Suspense, useEffect, useRef, useState } from "react";
import { ErrorNotice } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { SkeletonRows } from "@/components/Skeleton";
import { api } from "@/lib/api/client";
import { count } from "@/lib/format";
import { Example } from "./Example";
import { type Dataset, profileOf } from "./queries";

const Tokens = lazy(() => import("./Tokens"));

type Split = "raw" | "train" | "eval";
const pageSize = 50;

/** The rows as they will be trained on, or as they stand in the file. */
export function Rows({ dataset }: { dataset: Dataset }) {
  const processed = dataset.status === "ready" || dataset.train_rows !== undefined;
  const [split, setSplit] = useState<Split>(processed ? "train" : "raw");
  const [as, setAs] = useState<"text" | "tokens">("text");
  const options = [
    ...(processed
      ? [
          { value: "train" as const, label: `To train on · ${count(dataset.train_rows ?? 0)}` },
          { value: "eval" as const, label: `Held out · ${count(dataset.eval_rows ?? 0)}` },
        ]
      : []),
    { value: "raw" as const, label: "As in the file" },
  ];
  return (
    <div className="grid gap-4">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <div className="flex flex-wrap gap-3">
          <Segmented label="Which rows" value={split} onChange={setSplit} options={options} />
          {split !== "raw" && (
            <Segmented
              label="Shown as"
              value={as}
              onChange={setAs}
              options={[
                { value: "text", label: "Text" },
                { value: "tokens", label: "Tokens" },
              ]}
            />
          )}
        </div>
        <p className="text-ink-3 text-sm">
          {split === "raw" ? (
            "The first rows of the file."
          ) : (
            <>
              <span className="mr-1.5 inline-block size-2.5 rounded-sm bg-accent-soft ring-1 ring-accent-ink/40" />
              Marked is what the model learns to write; the rest it only reads.
            </>
          )}
        </p>
      </div>
      {split === "raw" ? (
        <RawRows dataset={dataset} />
      ) : as === "tokens" ? (
        <Suspense fallback={<SkeletonRows />}>
          <Tokens key={split} id={dataset.id} split={split} />
        </Suspense>
      ) : (
        <SplitRows key={split} id={dataset.id} split={split} stamp={dataset.updated_at ?? ""} />
      )}
    </div>
  );
}

function RawRows({ dataset }: { dataset: Dataset }) {
  const preview = profileOf(dataset)?.preview ?? [];
  if (preview.length === 0) return <p className="text-ink-3">The file has not been read yet.</p>;
  return (
    <ol className="divide-y divide-line rounded-lg border border-line bg-surface">
      {preview.map((row) => (
        <li key={row.row} className="grid gap-2 px-4 py-3">
          <p className="tabular text-ink-3 text-xs">{row.line ? `Line ${row.line}` : `Row ${row.row}`}</p>
          <pre className="scroll-x whitespace-pre-wrap break-words font-mono text-xs">
            {JSON.stringify(row.raw, null, 2)}
          </pre>
          {(row.issues ?? []).map((issue) => (
            <p
              key={issue.code + issue.field}
              className={issue.severity === "error" ? "text-bad text-sm" : "text-sm text-warn"}
            >
              {issue.message}
            </p>
          ))}
        </li>
      ))}
    </ol>
  );
}

function SplitRows({ id, split, stamp }: { id: string; split: "train" | "eval"; stamp: string }) {
  const query = useInfiniteQuery({
    queryKey: ["preview", id, split, stamp],
    initialPageParam: 0,
    queryFn: async ({ pageParam, signal }) => {
      const { data } = await api.GET("/api/datasets/{id}/preview", {
        params: { path: { id }, query: { split, offset: pageParam, limit: pageSize } },
        signal,
      });
      return data!;
    },
    getNextPageParam: (page) => page.next_offset,
  });
  if (query.error && !query.data) return <ErrorNotice error={query.error} onRetry={() => query.refetch()} />;
  if (!query.data) return <SkeletonRows />;
  const rows = query.data.pages.flatMap((page) => page.rows);
  if (rows.length === 0) return <p className="text-ink-3">There are no rows in this part.</p>;
  return (
    <>
      <Virtual
        rows={rows}
        more={query.hasNextPage && !query.isError}
        loading={query.isFetchingNextPage}
        onMore={query.fetchNextPage}
      />
      {query.isFetchNextPageError && (
        <ErrorNotice error={query.error} title="More rows could not be read" onRetry={() => query.fetchNextPage()} />
      )}
    </>
  );
}

type VirtualProps = { rows: Record<string, unknown>[]; more: boolean; loading: boolean; onMore: () => void };

/** Only the rows in sight are in the page, however many were loaded. */
function Virtual({ rows, more, loading, onMore }: VirtualProps) {
  const box = useRef<HTMLDivElement>(null);
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => 120,
    overscan: 6,
  });
  const items = virtualizer.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  useEffect(() => {
    if (more && !loading && last >= rows.length - 10) onMore();
  }, [last, rows.length, more, loading, onMore]);
  return (
    <div
      ref={box}
      role="feed"
      aria-busy={loading}
      aria-label="Rows"
      tabIndex={0}
      className="h-[65dvh] min-h-80 overflow-y-auto rounded-lg border border-line bg-surface"
    >
      <div className="relative" style={{ height: virtualizer.getTotalSize() }}>
        {items.map(({ index, key, start }) => (
          <div
            key={key}
            ref={virtualizer.measureElement}
            data-index={index}
            className="absolute inset-x-0 border-line border-b"
            style={{ transform: `translateY(${start}px)` }}
          >
            <Example number={index + 1} row={rows[index]!} total={more ? -1 : rows.length} />
          </div>
        ))}
      </div>
    </div>
  );
}
