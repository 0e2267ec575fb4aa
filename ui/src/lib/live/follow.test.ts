import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Problem } from "../api/problem";
import { follow, type LiveEvent, type LiveState, type Transport } from "./follow";
import { serverSentEvents } from "./sse";

const event = (seq: number): LiveEvent => ({
  stream: "job/1",
  seq,
  type: "runner.metrics",
  at: "",
  payload: { step: seq },
});

/** A log that grows; each connection is cut after so many events. */
function cutAfter(log: LiveEvent[], sizes: number[]): { transport: Transport; asked: number[] } {
  const asked: number[] = [];
  const transport: Transport = async (_path, after, on) => {
    asked.push(after);
    on.open();
    const size = sizes.shift() ?? log.length;
    const rest = log.filter(({ seq }) => seq > after).slice(0, size);
    for (const e of rest) on.event(e);
    return (rest.at(-1)?.seq ?? after) === log.length;
  };
  return { transport, asked };
}

function watch(transport: Transport, after = 0) {
  const seen: number[] = [];
  const states: LiveState[] = [];
  const following = follow({
    path: "/api/training/job_1",
    after,
    transport,
    onEvents: (events) => seen.push(...events.map(({ seq }) => seq)),
    onState: (state) => states.push(state),
  });
  return { seen, states, following };
}

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: false });
});
afterEach(() => {
  vi.useRealTimers();
});

test("events come once and in order, however often the line is cut", async () => {
  const log = Array.from({ length: 100 }, (_, i) => event(i + 1));
  const { transport, asked } = cutAfter(log, [3, 0, 40]);
  const { seen, states } = watch(transport);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(seen).toEqual(log.map(({ seq }) => seq));
  expect(asked).toEqual([0, 3, 3, 43]);
  expect(states.at(-1)).toEqual({ phase: "ended" });
});

test("what a line repeats is not handed on again", async () => {
  const repeating: Transport = async (_path, after, on) => {
    for (const seq of [1, 2, 2, 1, 3]) on.event(event(seq));
    return after === 0;
  };
  const { seen } = watch(repeating);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(seen).toEqual([1, 2, 3]);
});

test("a gap is never shown: the line is opened again from the last event", async () => {
  let tries = 0;
  const gappy: Transport = async (_path, after, on) => {
    tries++;
    on.event(event(after + 1));
    if (tries === 1) on.event(event(after + 3));
    return tries > 1;
  };
  const { seen } = watch(gappy);
  await vi.advanceTimersByTimeAsync(5_000);
  expect(seen).toEqual([1, 2]);
});

test("pauses between tries grow, and retry now does not wait", async () => {
  let tries = 0;
  const dead: Transport = async () => {
    tries++;
    throw Problem.unreachable();
  };
  const { states, following } = watch(dead);
  await vi.advanceTimersByTimeAsync(3_600);
  expect(tries).toBe(4); // at 0, 0.5, 1.5 and 3.5 s
  expect(states.at(-1)?.phase).toBe("waiting");
  following.retryNow();
  await vi.advanceTimersByTimeAsync(0);
  expect(tries).toBe(5);
});

test("a resource that is gone is not asked for for ever", async () => {
  let tries = 0;
  const gone: Transport = async () => {
    tries++;
    throw new Problem({ status: 404, code: "not_found", detail: "there is no job" });
  };
  const { states } = watch(gone);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(tries).toBe(1);
  expect(states.at(-1)?.phase).toBe("failed");
});

test("who asked too often comes again later", async () => {
  let tries = 0;
  const busy: Transport = async () => {
    if (++tries > 2) return true;
    throw new Problem({ status: 429, code: "rate_limited", detail: "too many requests" });
  };
  const { states } = watch(busy);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(states.at(-1)).toEqual({ phase: "ended" });
});

test("stop ends it", async () => {
  let tries = 0;
  const dead: Transport = async () => {
    tries++;
    return false;
  };
  const { following } = watch(dead);
  await vi.advanceTimersByTimeAsync(0);
  following.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(tries).toBe(1);
});

test("server-sent events are read as the server writes them, cut anywhere", async () => {
  vi.useRealTimers();
  const text = `: still here\n\nid: 8\nevent: runner.log\ndata: ${JSON.stringify(event(8))}\n\nevent: end\ndata: {}\n\n`;
  server.use(
    http.get(`${origin}/api/training/job_1/events`, ({ request }) => {
      expect(new URL(request.url).searchParams.get("after")).toBe("7");
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          for (const part of text.match(/[\s\S]{1,7}/g) ?? []) controller.enqueue(new TextEncoder().encode(part));
          controller.close();
        },
      });
      return new HttpResponse(stream, { headers: { "Content-Type": "text/event-stream" } });
    }),
  );
  const got: LiveEvent[] = [];
  const ended = await serverSentEvents(
    "/api/training/job_1",
    7,
    { open: () => {}, event: (e) => got.push(e) },
    new AbortController().signal,
  );
  expect(got).toEqual([event(8)]);
  expect(ended).toBe(true);
});
