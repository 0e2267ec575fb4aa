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
