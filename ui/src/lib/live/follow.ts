import { createParser } from "eventsource-parser";
import { Problem } from "../api/problem";
import { sessionFetch } from "../api/session";

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
  transport?: Transport;
};

/** Carries events from `after` on until the signal aborts; resolves true when no more can come. */
export type Transport = (path: string, after: number, on: Receiver, signal: AbortSignal) => Promise<boolean>;
type Receiver = { open: () => void; event: (event: LiveEvent) => void };

const firstPause = 500;
const longestPause = 10_000;
/** The server says something every 15 s; a line that is silent for longer is dead. */
const silence = 40_000;

/**
 * Follows a resource's events from a cursor, once and in order, across reconnects: every try starts after the last seq
 * that was handed on, so nothing is lost or repeated whatever cut the line.
 */
export function follow({ path, after, onEvents, onState, transport = serverSentEvents }: FollowOptions) {
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
      if (error instanceof Problem && error.status >= 400 && error.status < 500) {
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

/** GET {path}/events. */
export const serverSentEvents: Transport = async (path, after, on, signal) => {
  const alive = watchdog(signal);
  const response = await sessionFetch(`${path}/events?after=${after}`, {
    signal: alive.signal,
    headers: { Accept: "text/event-stream" },
  });
  if (!response.ok) throw await Problem.of(response);
  on.open();
  let ended = false;
  const parser = createParser({
    onEvent: ({ event, data }) => {
      if (event === "end") ended = true;
      else on.event(JSON.parse(data) as LiveEvent);
    },
  });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return ended;
      alive.touch();
      parser.feed(value);
      if (ended) return true;
    }
  } finally {
    alive.stop();
    reader.cancel().catch(() => undefined);
  }
};

/** GET {path}/stream, a WebSocket: it does not count against the few connections that a browser keeps to one host. */
export const webSocket: Transport = (path, after, on, signal) =>
  new Promise((resolve, reject) => {
    const url = new URL(`${path}/stream?after=${after}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    const close = () => socket.close();
    signal.addEventListener("abort", close);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      on.open();
    };
    socket.onmessage = ({ data }) => {
      try {
        on.event(JSON.parse(data as string) as LiveEvent);
      } catch (error) {
        reject(error);
        socket.close();
      }
    };
    socket.onclose = () => {
      signal.removeEventListener("abort", close);
      if (opened || signal.aborted) resolve(false);
      else whyRefused(path).then(() => resolve(false), reject);
    };
  });

/** A refused WebSocket has no status: the resource itself tells whether it is gone, or the session is over. */
async function whyRefused(path: string): Promise<void> {
  const response = await sessionFetch(path);
  if (!response.ok) throw await Problem.of(response);
}

/** Aborts when nothing was heard for too long. */
function watchdog(signal: AbortSignal) {
  const controller = new AbortController();
  const abort = () => controller.abort();
  signal.addEventListener("abort", abort);
  let timer = setTimeout(abort, silence);
  return {
    signal: controller.signal,
    touch: () => {
      clearTimeout(timer);
      timer = setTimeout(abort, silence);
    },
    stop: () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      abort();
    },
  };
}
