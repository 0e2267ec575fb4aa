import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import { JobList } from "./JobList";
import type { Job } from "./queries";

vi.mock("next/navigation", () => import("@tests/navigation"));

const job = (name: string): Partial<Job> => ({
  id: `job_${name}`,
  name,
  model_id: "tiny-llama",
  dataset_id: "dataset_1",
  status: "completed",
  step: 1,
  total_steps: 1,
  created_at: "2026-11-24T10:00:00Z",
});

/** What the list was asked for, request by request. */
let asked: URLSearchParams[];

beforeEach(() => {
  asked = [];
  history.replaceState(null, "", "/jobs");
  server.use(
    http.get(`${origin}/api/datasets`, () => HttpResponse.json({ items: [{ id: "dataset_1", name: "Sums" }] })),
    http.get(`${origin}/api/models`, () => HttpResponse.json({ items: [] })),
  );
});

/** Answers the list of jobs. */
const answer = (of: (query: URLSearchParams) => Response) =>
  server.use(
    http.get(`${origin}/api/training`, ({ request }) => {
      const query = new URL(request.url).searchParams;
      asked.push(query);
      return of(query);
    }),
  );

test("what is typed and chosen narrows the list, and stands in the address", async () => {
  const user = userEvent.setup();
  answer((query) => HttpResponse.json({ items: query.get("q") ? [job("sums")] : [job("sums"), job("poems")] }));
  renderApp(<JobList />);
  await screen.findByText("poems");

  await user.type(screen.getByRole("searchbox"), "sum");
  await waitFor(() => expect(screen.queryByText("poems")).toBeNull());
  await user.selectOptions(screen.getByLabelText("Status"), "Done");
  await user.selectOptions(screen.getByLabelText("Dataset"), await screen.findByRole("option", { name: "Sums" }));
  await user.selectOptions(screen.getByLabelText("Order"), "Name, A to Z");

  expect(location.search).toBe("?q=sum&status=done&dataset=dataset_1&sort=name");
  await waitFor(() => expect(asked.at(-1)?.get("sort")).toBe("name"));
  expect(asked.at(-1)?.getAll("status")).toEqual(["completed", "stopped"]);
  expect(asked.at(-1)?.get("q")).toBe("sum");
  expect(asked.filter((query) => query.get("q") === "su")).toEqual([]);
});

test("an address that nothing matches says so, and can be cleared", async () => {
  history.replaceState(null, "", "/jobs?q=nobody&status=failed&sort=nonsense");
  const user = userEvent.setup();
  answer((query) => HttpResponse.json({ items: query.get("q") ? [] : [job("sums")] }));
  renderApp(<JobList />);
  await screen.findByText("Nothing matches");
  expect(asked[0]?.get("sort")).toBeNull();
  expect(asked[0]?.getAll("status")).toEqual(["failed"]);

  await user.click(screen.getByRole("button", { name: "Clear search and filters" }));
  await screen.findByText("sums");
  expect(screen.getByRole<HTMLInputElement>("searchbox").value).toBe("");
  expect(location.search).toBe("?sort=nonsense");
});

test("pages are turned there and back, and a new search begins at the first", async () => {
  const user = userEvent.setup();
  answer((query) =>
    query.get("cursor") === "second"
      ? HttpResponse.json({ items: [job("older")] })
      : HttpResponse.json({ items: [job("newer")], next_cursor: "second" }),
  );
  renderApp(<JobList />);
  await user.click(await screen.findByRole("button", { name: "Next" }));
  await screen.findByText("older");
  expect(location.search).toBe("?cursor=second");
  expect(screen.getByRole<HTMLButtonElement>("button", { name: "Next" }).disabled).toBe(true);

  await user.click(screen.getByRole("button", { name: "Previous" }));
  await screen.findByText("newer");
  await user.click(screen.getByRole("button", { name: "Next" }));
  await screen.findByText("older");
  await user.selectOptions(screen.getByLabelText("Status"), "Done");
  await screen.findByText("newer");
  expect(location.search).toBe("?status=done");
});

test("a page that was opened by its address leads to the first one", async () => {
  history.replaceState(null, "", "/jobs?cursor=second");
  const user = userEvent.setup();
  answer((query) => HttpResponse.json({ items: [job(query.get("cursor") ? "older" : "newer")] }));
  renderApp(<JobList />);
  await screen.findByText("older");
  await user.click(screen.getByRole("button", { name: "First page" }));
  await screen.findByText("newer");
});

test("a refused list says why, and can be asked for without what it was narrowed to", async () => {
  history.replaceState(null, "", "/jobs?cursor=stale");
  const user = userEvent.setup();
  answer((query) =>
    query.get("cursor")
      ? HttpResponse.json({ code: "invalid", detail: "the cursor belongs to another list" }, { status: 400 })
      : HttpResponse.json({ items: [job("sums")] }),
  );
  renderApp(<JobList />);
  await screen.findByText("The cursor belongs to another list.");
  await user.click(screen.getByRole("button", { name: "Clear search and filters" }));
  await screen.findByText("sums");
});

test("a list that has nothing at all shows no search", async () => {
  answer(() => HttpResponse.json({ items: [] }));
  renderApp(<JobList />);
  await screen.findByText("No training yet");
  expect(screen.queryByRole("searchbox")).toBeNull();
});

test("a job in line shows its place, and its start where there is a basis", async () => {
  const waiting = (name: string, queue_position: number) => ({
    ...job(name),
    status: "queued",
    total_steps: 0,
    queue_position,
  });
  const at = (minutes: number) => new Date(Date.now() + minutes * 60_000).toISOString();
  answer(() =>
    HttpResponse.json({
      items: [
        { ...waiting("sums", 1), expected_start: { earliest: at(5), latest: at(12) } },
        { ...waiting("odes", 2), expected_start: { earliest: at(-1), latest: at(0) } },
        waiting("poems", 3),
      ],
    }),
  );
  renderApp(<JobList />);
  await screen.findByText("no. 1 in line · starts in 5 to 12 min");
  screen.getByText("no. 2 in line · starts at any moment");
  screen.getByText("no. 3 in line");
});
