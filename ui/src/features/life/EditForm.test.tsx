import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import EditForm from "./EditForm";
import { editJob } from "./edits";

const path = `${origin}/api/training/job_1`;

/** The job as the server has it, with a version that every change raises. */
let job: { name: string; notes?: string; tags?: string[]; priority?: string; completed_at?: string };
let version: number;
let written: unknown[];

beforeEach(() => {
  job = { name: "Sums", tags: ["first"] };
  version = 1;
  written = [];
  server.use(
    http.get(path, () => HttpResponse.json(job, { headers: { ETag: `"${version}"` } })),
    http.patch(path, async ({ request }) => {
      if (request.headers.get("If-Match") !== `"${version}"`)
        return HttpResponse.json({ code: "precondition_failed", detail: "it has changed" }, { status: 412 });
      const change = (await request.json()) as Partial<typeof job>;
      written.push(change);
      job = { ...job, ...change };
      version++;
      return HttpResponse.json(job);
    }),
  );
});

test("only what was changed is written", async () => {
  const user = userEvent.setup();
  const done = vi.fn();
  renderApp(<EditForm edit={editJob("job_1")} onDone={done} />);
  await user.type(await screen.findByLabelText("Tags"), ", keep,, keep ");
  await user.type(screen.getByLabelText("Notes"), "The rate was too high.");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(done).toHaveBeenCalled());
  expect(written).toEqual([{ notes: "The rate was too high.", tags: ["first", "keep"] }]);
});

test("nothing is written where nothing was changed, and Escape leaves it", async () => {
  const user = userEvent.setup();
  const done = vi.fn();
  renderApp(<EditForm edit={editJob("job_1")} onDone={done} />);
  await user.type(await screen.findByLabelText("Name"), "{Enter}");
  await user.type(screen.getByLabelText("Name"), "x{Escape}");
  expect(done).toHaveBeenCalledTimes(2);
  expect(written).toEqual([]);
});

test("what somebody else wrote meanwhile is shown, and goes only if one says so", async () => {
  const user = userEvent.setup();
  const done = vi.fn();
  renderApp(<EditForm edit={editJob("job_1")} onDone={done} />);
  await user.type(await screen.findByLabelText("Notes"), "mine");
  job = { ...job, notes: "theirs" };
  version++;
  await user.click(screen.getByRole("button", { name: "Save" }));
  await screen.findByText("Somebody else has changed this meanwhile");
  expect(screen.getByText("theirs")).toBeTruthy();
  expect(written).toEqual([]);

  await user.click(screen.getByRole("button", { name: "Save mine over it" }));
  await waitFor(() => expect(done).toHaveBeenCalled());
  expect(job.notes).toBe("mine");
});

test("theirs can be taken, and gone on from", async () => {
  const user = userEvent.setup();
  const done = vi.fn();
  renderApp(<EditForm edit={editJob("job_1")} onDone={done} />);
  await user.type(await screen.findByLabelText("Notes"), "mine");
  job = { ...job, notes: "theirs" };
  version++;
  await user.click(screen.getByRole("button", { name: "Save" }));
  await user.click(await screen.findByRole("button", { name: "Take theirs instead" }));
  await user.type(screen.getByLabelText("Notes"), " and mine");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(done).toHaveBeenCalled());
  expect(job.notes).toBe("theirs and mine");
});

test("the priority of a training that has not ended can be changed", async () => {
  job.priority = "normal";
  const user = userEvent.setup();
  const done = vi.fn();
  renderApp(<EditForm edit={editJob("job_1")} onDone={done} />);
  await user.selectOptions(await screen.findByLabelText("Priority"), "high");
  await user.click(screen.getByRole("button", { name: "Save" }));
  await waitFor(() => expect(done).toHaveBeenCalled());
  expect(written).toEqual([{ priority: "high" }]);
});

test("one that has ended has none", async () => {
  job = { ...job, priority: "normal", completed_at: "2026-11-24T10:00:00Z" };
  renderApp(<EditForm edit={editJob("job_1")} onDone={() => {}} />);
  await screen.findByLabelText("Notes");
  expect(screen.queryByLabelText("Priority")).toBeNull();
});
