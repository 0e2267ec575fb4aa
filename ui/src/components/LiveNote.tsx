"use client";

import { useEffect, useState } from "react";
import { Button } from "@/components/Button";
import type { LiveState } from "@/lib/live/follow";

/** Says that the page is not live at the moment, and when it tries again. Its place is kept, so that nothing moves. */
export function LiveNote({ live }: { live: LiveState & { retryNow: () => void } }) {
  return (
    <div role="status" className="flex h-8 items-center gap-2 text-sm">
      {live.phase === "live" && (
        <span className="flex items-center gap-1.5 text-good">
          <span aria-hidden className="size-2 rounded-full bg-current motion-safe:animate-pulse-slow" />
          Live
        </span>
      )}
      {live.phase === "waiting" && (
        <>
          <span className="text-warn">
            Not live. <Countdown to={live.retryAt} />
          </span>
          <Button size="sm" onClick={live.retryNow}>
            Retry now
          </Button>
        </>
      )}
      {live.phase === "failed" && <span className="text-bad">{live.problem.message}</span>}
    </div>
  );
}

function Countdown({ to }: { to: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.ceil((to - now) / 1000));
  return <span className="tabular">{seconds > 0 ? `Trying again in ${seconds} s.` : "Trying again."}</span>;
}
