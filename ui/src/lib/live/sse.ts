import { createParser } from "eventsource-parser";
import { Problem } from "../api/problem";
import { sessionFetch } from "../api/session";
import type { LiveEvent, Transport } from "./follow";

/** The server says something every 15 s; a line that is silent for longer is dead. */
const silence = 40_000;

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
