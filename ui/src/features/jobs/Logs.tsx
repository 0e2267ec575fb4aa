"use client";

import { useInfiniteQuery } from "@tanstack/react-query";
import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDownToLine, Download } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import { Button } from "@/components/Button";
import { cx } from "@/components/cx";
import { Input } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { SkeletonRows } from "@/components/Skeleton";
import { isMoving } from "@/components/Status";
import { api, type Schemas } from "@/lib/api/client";
import { downloadText } from "@/lib/download";
import { plural } from "@/lib/format";
import type { LiveEvent } from "@/lib/live/follow";
import { serverSentEvents } from "@/lib/live/sse";
import { useLive } from "@/lib/live/useLive";
import type { Job } from "./queries";

type LogLine = Schemas["LogLine"];
const pageSize = 200;

/** What a run says of itself: all of it, and each line as it comes. */
export default function Logs({ job }: { job: Job }) {
  const query = useInfiniteQuery({
    queryKey: ["logs", job.id],
    initialPageParam: 0,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ pageParam, signal }) => {
      const { data } = await api.GET("/api/training/{id}/logs", {
        params: { path: { id: job.id }, query: { after: pageParam, limit: pageSize } },
        signal,
      });
      return data!;
    },
    getNextPageParam: (page) => (page.lines.length === pageSize ? page.next_after : undefined),
  });
  useEffect(() => {
    if (query.hasNextPage && !query.isFetching && !query.isError) void query.fetchNextPage();
  }, [query.hasNextPage, query.isFetching, query.isError, query.fetchNextPage]);

  const read = query.data?.pages.at(-1);
  const complete = read !== undefined && !query.hasNextPage;
  const [fresh, setFresh] = useState<LogLine[]>([]);
  useLive({
    path: complete && (isMoving(job.status) || job.status === "paused") ? `/api/training/${job.id}` : undefined,
    after: read?.next_after ?? 0,
    transport: serverSentEvents,
    onEvents: (events) => {
      const lines = events.filter(({ type }) => type === "runner.log").map(lineOf);
      if (lines.length > 0) setFresh((old) => [...old, ...lines]);
    },
  });
  const lines = useMemo(() => {
    const all = [...(query.data?.pages.flatMap((page) => page.lines) ?? []), ...fresh];
    return [...new Map(all.map((line) => [line.seq, line])).values()]; // a page that is read again has lines that came live
  }, [query.data, fresh]);
  if (query.error && !query.data) return <ErrorNotice error={query.error} onRetry={() => query.refetch()} />;
  if (!query.data) return <SkeletonRows />;
  return (
    <>
      {query.isFetchNextPageError && (
        <ErrorNotice
          error={query.error}
          title="The rest of the log could not be read"
          onRetry={() => query.fetchNextPage()}
          className="mb-3"
        />
      )}
      <LogView name={job.name || job.id} lines={lines} />
    </>
  );
}

function lineOf({ seq, at, payload }: LiveEvent): LogLine {
  return { seq, at, level: String(payload.level ?? "info"), message: String(payload.message ?? "") };
}

function LogView({ name, lines }: { name: string; lines: LogLine[] }) {
  const [search, setSearch] = useState("");
  const [level, setLevel] = useState<"all" | "warn">("all");
  const [following, setFollowing] = useState(true);
  const shown = useMemo(() => {
    const wanted = search.toLowerCase();
    return lines.filter(
      (line) => (level === "all" || line.level !== "info") && line.message.toLowerCase().includes(wanted),
    );
  }, [lines, search, level]);
  const save = () =>
    downloadText(`${name}.log`, lines.map((l) => `${l.at} ${l.level.toUpperCase()} ${l.message}`).join("\n"));
  return (
    <div className="grid gap-3">
      <div className="flex flex-wrap items-center gap-2">
        <Input
          type="search"
          aria-label="Search the log"
          placeholder="Search"
          value={search}
          onChange={(event) => setSearch(event.target.value)}
          className="w-56"
        />
        <Segmented
          label="Level"
          value={level}
          onChange={setLevel}
          options={[
            { value: "all", label: "All" },
            { value: "warn", label: "Warnings" },
          ]}
        />
        <span className="text-ink-3 text-sm">{plural(shown.length, "line")}</span>
        <div className="ml-auto flex gap-2">
          <Button
            size="sm"
            aria-pressed={following}
            variant={following ? "primary" : "secondary"}
            icon={<ArrowDownToLine aria-hidden className="size-4" />}
            onClick={() => setFollowing(!following)}
          >
            Follow
          </Button>
          <Button
            size="sm"
            icon={<Download aria-hidden className="size-4" />}
            onClick={save}
            disabled={lines.length === 0}
          >
            Download
          </Button>
        </div>
      </div>
      <Lines lines={shown} following={following} onLeave={() => setFollowing(false)} />
    </div>
  );
}

function Lines({ lines, following, onLeave }: { lines: LogLine[]; following: boolean; onLeave: () => void }) {
  const box = useRef<HTMLDivElement>(null);
  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => box.current,
    estimateSize: () => 24,
    overscan: 20,
  });
  useEffect(() => {
    if (following && lines.length > 0) virtualizer.scrollToIndex(lines.length - 1, { align: "end" });
  }, [following, lines.length, virtualizer]);
  return (
    <div
      ref={box}
      role="log"
      aria-label="Log"
      tabIndex={0}
      onWheel={(event) => event.deltaY < 0 && onLeave()}
      onTouchMove={onLeave}
      onKeyDown={(event) => ["ArrowUp", "PageUp", "Home"].includes(event.key) && onLeave()}
      className="h-[60dvh] min-h-72 overflow-auto rounded-lg border border-line bg-surface py-2 font-mono text-xs"
    >
      {lines.length === 0 && <p className="px-4 py-2 font-sans text-base text-ink-3">Nothing to show.</p>}
      <div className="relative" style={{ height: virtualizer.getTotalSize() }}>
        {virtualizer.getVirtualItems().map(({ index, key, start }) => {
          const line = lines[index]!;
          return (
            <div
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              className={cx(
                "absolute inset-x-0 flex gap-3 px-4 py-1",
                line.level !== "info" && "bg-warn-soft text-warn",
              )}
              style={{ transform: `translateY(${start}px)` }}
            >
              <time className="shrink-0 text-ink-3" dateTime={line.at}>
                {new Date(line.at).toLocaleTimeString("en", { hourCycle: "h23" })}
              </time>
              <span className="min-w-0 whitespace-pre-wrap [overflow-wrap:anywhere]">{line.message}</span>
            </div>
          );
        })}
      </div>
    </div>
  );
}
