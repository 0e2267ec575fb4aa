"use client";

import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Badge } from "@/components/Badge";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { ErrorNotice } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { SkeletonRows } from "@/components/Skeleton";
import { api, type Schemas } from "@/lib/api/client";
import { moment } from "@/lib/format";

type Outcome = "all" | "done" | "refused";

/** Who did what, newest first; for owners. */
export function Audit() {
  const [outcome, setOutcome] = useState<Outcome>("all");
  const log = useInfiniteQuery({
    queryKey: ["audit", outcome],
    initialPageParam: undefined as string | undefined,
    queryFn: async ({ pageParam, signal }) => {
      const query = { limit: 50, cursor: pageParam, outcome: outcome === "all" ? undefined : outcome };
      return (await api.GET("/api/audit", { params: { query }, signal })).data!;
    },
    getNextPageParam: (page) => page.next_cursor,
  });
  const items = log.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <Card
      title="Audit log"
      note="What was changed or refused, by whom."
      flush
      actions={
        <Segmented
          label="Outcome"
          value={outcome}
          onChange={setOutcome}
          options={[
            { value: "all", label: "All" },
            { value: "done", label: "Done" },
            { value: "refused", label: "Refused" },
          ]}
        />
      }
    >
      {log.error && !log.data ? (
        <div className="p-4">
          <ErrorNotice error={log.error} onRetry={() => log.refetch()} />
        </div>
      ) : !log.data ? (
        <SkeletonRows />
      ) : items.length === 0 ? (
        <p className="p-5 text-ink-3">Nothing yet.</p>
      ) : (
        <ul className="divide-y divide-line">
          {items.map((event) => (
            <AuditItem key={event.id} event={event} />
          ))}
        </ul>
      )}
      {log.hasNextPage && (
        <div className="flex justify-center p-3">
          <Button size="sm" busy={log.isFetchingNextPage} onClick={() => log.fetchNextPage()}>
            Older ones
          </Button>
        </div>
      )}
    </Card>
  );
}

function AuditItem({ event }: { event: Schemas["AuditEvent"] }) {
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-0.5 px-4 py-2.5 text-sm sm:px-5">
      <span className="tabular w-40 text-ink-3">{moment(event.at)}</span>
      <span className="min-w-0 flex-1 basis-56">
        <span className="font-medium">{event.actor.name || event.actor.kind}</span>{" "}
        <span className="text-ink-2">{words(event.action)}</span>{" "}
        {event.resource && <code className="font-mono text-ink-3 text-xs">{event.resource}</code>}
      </span>
      <span className="text-ink-3">{event.address}</span>
      {event.status >= 400 && <Badge tone="bad">{event.code || event.status}</Badge>}
    </li>
  );
}

/** startTraining → "start training". */
const words = (operation: string) => operation.replace(/([A-Z])/g, " $1").toLowerCase();
