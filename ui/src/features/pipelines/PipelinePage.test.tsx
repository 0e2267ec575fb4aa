import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { PipelinePage } from "./PipelinePage";

vi.mock("next/navigation", () => import("@tests/navigation"));

const pipeline = (told: object) => {
  const asked: string[] = [];
  const full = {
    id: "pipe_1",
    name: "Support",
    last_seq: 9,
    created_at: "2026-11-28T10:00:00Z",
    dataset_id: "ds_1",
    ...told,
  };
  server.use(
    http.get(`${origin}/api/pipelines/pipe_1`, () => HttpResponse.json(full)),
    http.post(`${origin}/api/pipelines/pipe_1/:verb`, ({ params }) => {
      asked.push(String(params.verb));
      return HttpResponse.json(full, { status: 202 });
    }),
  );
  return asked;
};

const cancelled = { code: "conflict", message: "its training was cancelled", remedy: "retry to run it again" };

test("a pipeline whose training was cancelled says so, and is tried again or given up", async () => {
  const user = userEvent.setup();
  const asked = pipeline({
    status: "stopped",
    error: cancelled,
    stages: [{ stage: "train", status: "cancelled", error: cancelled }],
  });
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByText("The train stage was cancelled")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
  await user.click(screen.getByRole("button", { name: "Try that stage again" }));
  await waitFor(() => expect(asked).toEqual(["retry"]));

  await user.click(screen.getByRole("button", { name: "Give up" }));
  await user.click(await screen.findByRole("button", { name: "Give it up" }));
  await waitFor(() => expect(asked).toEqual(["retry", "cancel"]));
});

test("a pipeline that failed can be given up: the server deletes none that waits", async () => {
  pipeline({
    status: "failed",
    error: { code: "disk_full", message: "the disk is full", remedy: "make room" },
    stages: [{ stage: "train", status: "failed" }],
  });
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByRole("alert")).toHaveProperty("textContent", expect.stringContaining("The disk is full."));
  expect(screen.getByRole("button", { name: "Give up" })).toBeTruthy();
  expect(screen.queryByRole("button", { name: /Delete/ })).toBeNull();
});

const stages = (...names: string[]) => names.map((stage) => ({ stage, status: "completed", seconds: 3 }));

test("a model that was taken down since is not said to be loading", async () => {
  pipeline({ status: "completed", deployment_id: "dep_1", stages: stages("train", "deploy") });
  server.use(
    http.get(`${origin}/api/deployments/dep_1`, () =>
      HttpResponse.json({ id: "dep_1", model_id: "model_1", status: "stopped" }),
    ),
  );
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByText("It was taken down, and answers no more.")).toBeTruthy();
  expect(screen.queryByText(/being loaded/)).toBeNull();
});

test("an evaluation that failed does not look as if it went on", async () => {
  pipeline({ status: "failed", evaluation_id: "eval_1", stages: [{ stage: "evaluate", status: "failed" }] });
  server.use(http.get(`${origin}/api/evaluation/eval_1`, () => HttpResponse.json({ id: "eval_1", status: "failed" })));
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByRole("link", { name: "Read the answers" })).toBeTruthy();
  expect(screen.queryByRole("progressbar")).toBeNull();
});

test("a training that was deleted since is not said to have not begun", async () => {
  pipeline({ status: "completed", job_id: "job_1", stages: stages("train") });
  server.use(
    http.get(`${origin}/api/training/job_1`, () =>
      HttpResponse.json({ code: "not_found", detail: "there is no job" }, { status: 404 }),
    ),
  );
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByText("There is no job.")).toBeTruthy();
  expect(screen.queryByText("It has not begun.")).toBeNull();
});

test("a pipeline that is done shows what it has come to, and each stage on demand", async () => {
  const user = userEvent.setup();
  pipeline({
    status: "completed",
    job_id: "job_1",
    evaluation_id: "eval_1",
    deployment_id: "dep_1",
    stages: ["train", "evaluate", "deploy"].map((stage) => ({ stage, status: "completed", seconds: 3 })),
  });
  const result = {
    verdict: "better",
    verdict_text: "86 of 100 rows improved.",
    loss_delta: -0.1,
    loss_delta_ci: [-0.2, -0.05],
  };
  server.use(
    http.get(`${origin}/api/evaluation/eval_1`, () => HttpResponse.json({ id: "eval_1", status: "completed", result })),
    http.get(`${origin}/api/deployments/dep_1`, () =>
      HttpResponse.json({ id: "dep_1", model_id: "model_1", status: "serving" }),
    ),
    http.get(`${origin}/api/training/job_1`, () =>
      HttpResponse.json({ id: "job_1", status: "completed", step: 48, total_steps: 48 }),
    ),
  );
  renderApp(<PipelinePage id="pipe_1" />);
  expect(await screen.findByText("86 of 100 rows improved.")).toBeTruthy();
  expect(await screen.findByText(/It answers at/)).toBeTruthy();
  await user.click(screen.getByRole("button", { name: /Train/ }));
  expect(await screen.findByText(/step 48 of 48/)).toBeTruthy();
  expect(screen.queryByText("86 of 100 rows improved.")).toBeNull();
});
