"use client";

import { useQueryClient } from "@tanstack/react-query";
import { CloudOff } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Button } from "@/components/Button";
import { connection, useConnection } from "@/lib/api/connection";

/** Says that the server does not answer, over the page so that nothing moves, and catches up once it does. */
export function ConnectionBanner() {
  const { online, since } = useConnection();
  const client = useQueryClient();
  const was = useRef(online);
  const [trying, setTrying] = useState(false);
  useEffect(() => {
    if (online && !was.current) void client.invalidateQueries();
    was.current = online;
  }, [online, client]);

  const retry = async () => {
    setTrying(true);
    await connection.retry();
    setTrying(false);
  };
  return (
    <div role="status" className="pointer-events-none fixed inset-x-0 bottom-4 z-50 flex justify-center px-4">
      {!online && (
        <div className="pointer-events-auto flex max-w-full animate-rise items-center gap-3 rounded-full border border-line bg-surface py-1.5 pr-1.5 pl-4 shadow-raised">
          <CloudOff aria-hidden className="size-4 shrink-0 text-warn" />
          <span className="min-w-0 text-sm">
            VibeFlow does not answer. You see what was there at{" "}
            {new Date(since).toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false })}.
          </span>
          <Button size="sm" busy={trying} onClick={retry} className="rounded-full">
            Retry now
          </Button>
        </div>
      )}
    </div>
  );
}
