import { useCallback, useEffect, useEffectEvent, useRef, useState } from "react";
import { follow, type LiveEvent, type LiveState, type Transport } from "./follow";

type Options = {
  /** The resource's path; undefined follows nothing. */
  path: string | undefined;
  /** Where to begin: the last seq that the page's data already has. */
  after: number;
  onEvents: (events: LiveEvent[]) => void;
  transport: Transport;
};

/** Follows a resource for as long as the component is there. */
export function useLive({ path, after, onEvents, transport }: Options): LiveState & { retryNow: () => void } {
  const [state, setState] = useState<LiveState>({ phase: "connecting" });
  const following = useRef<ReturnType<typeof follow>>(undefined);
  const handle = useEffectEvent(onEvents);
  const start = useEffectEvent(() => after);

  useEffect(() => {
    if (!path) return;
    following.current = follow({
      path,
      after: start(),
      onEvents: (events) => handle(events),
      onState: setState,
      transport,
    });
    return () => following.current?.stop();
  }, [path, transport]);

  const retryNow = useCallback(() => following.current?.retryNow(), []);
  return path ? { ...state, retryNow } : { phase: "ended", retryNow };
}
