"use client";

import { type QueryClient, useQueryClient } from "@tanstack/react-query";
import { CloudOff } from "lucide-react";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
import { Button } from "@/components/Button";
import { connection, useOnline } from "@/lib/api/connection";
import { ago, moment } from "@/lib/format";

/** Says that the server does not answer, over the page so that nothing moves, and catches up once it does. */
export function ConnectionBanner() {
  const online = useOnline();
  const client = useQueryClient();
  const was = useRef(online);
  useEffect(() => {
    if (online && !was.current) void client.invalidateQueries();
    was.current = online;
  }, [online, client]);
  return (
    <div role="status" className="pointer-events-none fixed inset-x-0 bottom-4 z-50 flex justify-center px-4">
      {!online && <Offline client={client} />}
    </div>
  );
}

const minute = 60_000;

function Offline({ client }: { client: QueryClient }) {
  const [trying, setTrying] = useState(false);
  const [now, setNow] = useState(Date.now);
  const cache = client.getQueryCache();
  const seen = useSyncExternalStore(
    (changed) => cache.subscribe(changed),
    () => oldestShown(client),
  );
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), minute / 2);
    return () => clearInterval(timer);
  }, []);
  const retry = async () => {
    setTrying(true);
    await connection.retry();
    setTrying(false);
  };
  return (
    <div className="pointer-events-auto flex max-w-full animate-rise items-center gap-3 rounded-full border border-line bg-surface py-1.5 pr-1.5 pl-4 shadow-raised">
      <CloudOff aria-hidden className="size-4 shrink-0 text-warn" />
      <span className="min-w-0 text-sm">
        VibeFlow does not answer.
        {seen !== undefined && (
          <span title={moment(new Date(seen).toISOString())}>
            {" "}
            You see what was there {now - seen < minute ? "a moment ago" : ago(seen, now)}.
          </span>
        )}
      </span>
      <Button size="sm" busy={trying} onClick={retry} className="rounded-full">
        Retry now
      </Button>
    </div>
  );
}

/** When the oldest of what the page shows was true; undefined: it shows nothing of the server's. */
function oldestShown(client: QueryClient): number | undefined {
  const shown = client.getQueryCache().findAll({ type: "active", predicate: ({ state }) => state.dataUpdatedAt > 0 });
  return shown.length > 0 ? Math.min(...shown.map(({ state }) => state.dataUpdatedAt)) : undefined;
}
