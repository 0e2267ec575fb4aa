import { screen, waitFor } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import type { LiveEvent, Transport } from "@/lib/live/follow";
import { useMonitor } from "./useMonitor";

vi.mock("next/navigation", () => import("@tests/navigation"));
vi.mock("@/lib/live/socket", () => ({ webSocket: ((...told) => line(...told)) satisfies Transport }));

/** The server's log of the job; whoever watches is told what is written after what they know. */
let log: LiveEvent[];
let watchers: (() => void)[];

const line: Transport = (_path, after, on, signal) =>
  new Promise((resolve) => {
    let told = after;
    const tell = () => {
      for (const event of log.filter(({ seq }) => seq > told)) on.event(event);
      told = log.length;
    };
    watchers.push(tell);
    signal.addEventListener("abort", () => resolve(false));
    on.open();
    tell();
  });

function happens(type: string, payload: Record<string, unknown>) {
  log.push({ stream: "job/job_1", seq: log.length + 1, type, at: "2026-11-28T10:00:00Z", payload });
  for (const tell of watchers) tell();
}

const step = (n: number) => happens("runner.metrics", { step: n, loss: 1 / n });

let kept: { name: string; step: number }[];
/** Holds the job's answer back until it is called. */
let answerJob: () => void;

beforeEach(() => {
  log = [];
  watchers = [];
  kept = [];
  const answered = new Promise<void>((go) => {
    answerJob = go;
  });
  server.use(
    http.get(`${origin}/api/training/job_1`, async () => {
      await answered;
      return HttpResponse.json({ id: "job_1", status: "running", step: 0, total_steps: 9, last_seq: log.length });
    }),
    http.get(`${origin}/api/training/job_1/metrics`, () =>
      HttpResponse.json({ points: log.filter(({ type }) => type === "runner.metrics").map(({ payload }) => payload) }),
    ),
    http.get(`${origin}/api/training/job_1/checkpoints`, () => HttpResponse.json({ items: kept })),
  );
});

function Monitor() {
  const { curves, checkpoints } = useMonitor("job_1");
  return (
    <>
      <p data-testid="Steps">{[...curves.steps].join()}</p>
      <p data-testid="Checkpoints">{checkpoints.map(({ name }) => name).join()}</p>
    </>
  );
}

const shows = (label: string, text: string) => waitFor(() => expect(screen.getByTestId(label).textContent).toBe(text));

test("no step is missing that ends while the page is being loaded", async () => {
  step(1);
  renderApp(<Monitor />);
  // The job is slow to answer: whatever else was asked for is there by now.
  await new Promise((later) => setTimeout(later, 100));
  step(2);
  answerJob();
  await shows("Steps", "1,2");
  step(3);
  await shows("Steps", "1,2,3");
});

test("of the checkpoints those are shown that are kept", async () => {
  kept = [{ name: "checkpoint-1", step: 1 }];
  answerJob();
  renderApp(<Monitor />);
  await shows("Checkpoints", "checkpoint-1");
  await waitFor(() => expect(watchers.length).toBe(1));
  kept = [
    { name: "checkpoint-3", step: 3 },
    { name: "checkpoint-2", step: 2 },
  ];
  happens("job.checkpoint_committed", { name: "checkpoint-3", step: 3 });
  await shows("Checkpoints", "checkpoint-3,checkpoint-2");
});
