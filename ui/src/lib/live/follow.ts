import { Problem } from "../api/problem";

/** One entry of a resource's event log. `seq` starts at 1 and has no gaps. */
export type LiveEvent = { stream: string; seq: number; type: string; at: string; payload: Record<string, unknown> };

export type LiveState =
  | { phase: "connecting" }
  | { phase: "live" }
  | { phase: "waiting"; retryAt: number }
  | { phase: "ended" }
  | { phase: "failed"; problem: Problem };

export type FollowOptions = {
  /** The resource's path, as in /api/training/job_1. */
  path: string;
  /** The last seq that is known already. */
  after: number;
  /** Events in order, each once, as many at a time as have arrived. */
  onEvents: (events: LiveEvent[]) => void;
  onState: (state: LiveState) => void;
  transport: Transport;
};

/** Carries events from `after` on until the signal aborts; resolves true when no more can come. */
export type Transport = (path: string, after: number, on: Receiver, signal: AbortSignal) => Promise<boolean>;
type Receiver = { open: () => void; event: (event: LiveEvent) => void };

const firstPause = 500;
const longestPause = 10_000;

/**
 * Follows a resource's events from a cursor, once and in order, across reconnects: every try starts after the last seq
 * that was handed on, so nothing is lost or repeated whatever cut the line.
 */
export function follow({ path, after, onEvents, onState, transport }: FollowOptions) {
  let cursor = after;
  let pause = firstPause;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt: AbortController | undefined;
  let stopped = false;
  const deliver = batched(onEvents);

  const receive = (event: LiveEvent) => {
    if (event.seq <= cursor) return;
    if (event.seq !== cursor + 1) throw new Error(`event ${event.seq} came after ${cursor}`);
    cursor = event.seq;
    pause = firstPause;
    deliver.add(event);
  };

  const connect = async () => {
    clearTimeout(timer);
    attempt?.abort();
    const own = new AbortController();
    attempt = own;
    onState({ phase: "connecting" });
    try {
      const ended = await transport(
        path,
        cursor,
        { open: () => onState({ phase: "live" }), event: receive },
        own.signal,
      );
      if (stopped || attempt !== own) return;
      deliver.flush();
      if (ended) return onState({ phase: "ended" });
    } catch (error) {
      if (stopped || attempt !== own) return;
      deliver.flush();
      // 429 says to come again.
      if (error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429) {
        return onState({ phase: "failed", problem: error });
      }
    }
    onState({ phase: "waiting", retryAt: Date.now() + pause });
    timer = setTimeout(connect, pause);
    pause = Math.min(pause * 2, longestPause);
  };

  void connect();
  return {
    retryNow: () => {
      pause = firstPause;
      void connect();
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      attempt?.abort();
      deliver.flush();
    },
  };
}

/** Hands events on at most once a frame: a thousand that arrive together are one render. */
function batched(onEvents: (events: LiveEvent[]) => void) {
  let waiting: LiveEvent[] = [];
  let frame: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    clearTimeout(frame);
    frame = undefined;
    if (waiting.length === 0) return;
    const events = waiting;
    waiting = [];
    onEvents(events);
  };
  return {
    add: (event: LiveEvent) => {
      waiting.push(event);
      frame ??= setTimeout(flush, 16);
    },
    flush,
  };
}
