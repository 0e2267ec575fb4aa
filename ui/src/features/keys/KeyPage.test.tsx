import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import { KeyPage } from "./KeyPage";

vi.mock("next/navigation", () => import("@tests/navigation"));

const usage = (requests: number, errors = 0) => ({
  requests,
  errors,
  cancelled: 0,
  interrupted: 0,
  prompt_tokens: 10 * requests,
  completion_tokens: 5 * requests,
  ...(requests > 0 && { latency_p50_ms: 812, latency_p95_ms: 1430 }),
});

const model = (model_id: string, requests: number, errors = 0) => ({ model_id, usage: usage(requests, errors) });

beforeEach(() => {
  history.replaceState(null, "", "/key?id=key_1");
  server.use(
    http.get(`${origin}/api/keys`, () =>
      HttpResponse.json({
        items: [{ id: "key_1", name: "laptop", prefix: "vf_abc", created_at: "2026-11-24T10:00:00Z" }],
      }),
    ),
    http.get(`${origin}/api/models`, () => HttpResponse.json({ items: [{ id: "model_a", name: "Support" }] })),
  );
});

const answer = (days: object[], models: object[], total: object) =>
  server.use(
    http.get(`${origin}/api/keys/key_1/analytics`, ({ request }) =>
      HttpResponse.json({
        key_id: "key_1",
        from: "2026-11-23",
        to: "2026-11-24",
        usage_count: 9,
        under_way: 0,
        total,
        days: new URL(request.url).searchParams.get("days") === "7" ? days.slice(-1) : days,
        models,
      }),
    ),
  );

const days = [
  { date: "2026-11-23", usage: usage(2), models: [model("model_a", 2)] },
  { date: "2026-11-24", usage: usage(7, 1), models: [model("model_a", 3), model("model_b", 4, 1)] },
];

test("requests, tokens and times are told by day and by model", async () => {
  const user = userEvent.setup();
  answer(days, [model("model_a", 5), model("model_b", 4, 1)], usage(9, 1));
  renderApp(<KeyPage id="key_1" />);
  const requests = within(await screen.findByRole("table", { name: "Requests by day" }));
  expect(requests.getByRole("row", { name: "Nov 24 6 0 1" })).toBeTruthy();
  const times = within(screen.getByRole("table", { name: "Time to the whole answer by day" }));
  expect(times.getByRole("row", { name: /Nov 24 812 ms/ })).toBeTruthy();
  expect(await screen.findByRole("row", { name: "Support 5 0 50 25 812 ms 1.4 s" })).toBeTruthy();

  await user.selectOptions(screen.getByLabelText("Model"), "model_b");
  expect(requests.getByRole("row", { name: "Nov 24 3 0 1" })).toBeTruthy();
  expect(requests.getByRole("row", { name: "Nov 23 0 0 0" })).toBeTruthy();
  await user.click(screen.getByRole("radio", { name: "7 days" }));
  await waitFor(() => expect(requests.queryByRole("row", { name: /Nov 23/ })).toBeNull());
  expect(location.search).toBe("?id=key_1&model=model_b&days=7");
});

test("a key that was not used says so", async () => {
  answer(
    days.map(({ date }) => ({ date, usage: usage(0), models: [] })),
    [],
    usage(0),
  );
  renderApp(<KeyPage id="key_1" />);
  expect(await screen.findByText("Nothing has used this key yet.")).toBeTruthy();
});
