import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import { CompareJobs } from "./CompareJobs";

vi.mock("next/navigation", () => import("@tests/navigation"));
// It draws on a canvas, which is not here.
vi.mock("@/components/Chart", () => ({ Chart: ({ label }: { label: string }) => <p>{label}</p> }));

const run = (name: string, eval_loss: number) => ({
  id: `job_${name}`,
  project_id: "proj_1",
  name,
  status: "completed",
  dataset_id: "ds_1",
  dataset_name: "Support",
  model_id: "tiny",
  step: 20,
  total_steps: 20,
  eval_loss,
  launches: 1,
  created_at: "2026-11-24T10:00:00Z",
  points: [{ step: 1, epoch: 0, loss: 2 }],
});

beforeEach(() => {
  server.use(
    http.get(`${origin}/api/training`, () =>
      HttpResponse.json({ items: [run("slow", 2), run("fast", 1), run("odd", 3)] }),
    ),
    http.get(`${origin}/api/training/compare`, ({ request }) => {
      const ids = new URL(request.url).searchParams.getAll("id");
      const all = [run("slow", 2), run("fast", 1), run("odd", 3)];
      return HttpResponse.json({
        runs: ids.map((id) => all.find((each) => each.id === id)),
        differences: [{ field: "learning_rate", values: ids.map((_, i) => [0.001, 0.0001, 0.01][i]) }],
        same: [
          { field: "lora.r", value: 16 },
          { field: "dataset_id", value: "ds_1" },
        ],
      });
    }),
  );
});

test("runs that the address names stand side by side, and the best is marked", async () => {
  const user = userEvent.setup();
  history.replaceState(null, "", "/compare?id=job_slow&id=job_fast");
  renderApp(<CompareJobs />);
  expect(await screen.findByText("Loss of slow, fast")).toBeTruthy();
  expect(screen.getByRole("row", { name: "Held-out loss 2 1 (best)" })).toBeTruthy();
  expect(screen.getByRole("row", { name: "Learning rate 0.001 1e-4" })).toBeTruthy();
  expect(within(screen.getByText("Dataset").parentElement!).getByText("Support")).toBeTruthy();

  await user.selectOptions(screen.getByLabelText("Add a training"), "job_odd");
  expect(await screen.findByText("Loss of slow, fast, odd")).toBeTruthy();
  expect(location.search).toBe("?id=job_slow&id=job_fast&id=job_odd");
  await user.click(screen.getByRole("button", { name: "Leave slow out" }));
  await waitFor(() => expect(location.search).toBe("?id=job_fast&id=job_odd"));
});

test("one training alone asks for another", async () => {
  history.replaceState(null, "", "/compare?id=job_slow");
  renderApp(<CompareJobs />);
  expect(await screen.findByText("Choose one more")).toBeTruthy();
});
