import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test } from "vitest";
import Logs from "./Logs";
import type { Job } from "./queries";

const job = { id: "job_1", name: "Sums", status: "completed" } as Job;
const line = (seq: number) => ({ seq, at: "2026-11-28T10:00:00Z", level: "info", message: `line ${seq}` });

test("a log whose rest is refused says so and is not asked for again until somebody wants it", async () => {
  const user = userEvent.setup();
  const asked: string[] = [];
  let refuses = true;
  server.use(
    http.get(`${origin}/api/training/job_1/logs`, ({ request }) => {
      const after = Number(new URL(request.url).searchParams.get("after"));
      asked.push(String(after));
      if (after === 0)
        return HttpResponse.json({ lines: Array.from({ length: 200 }, (_, i) => line(i + 1)), next_after: 200 });
      if (refuses) return HttpResponse.json({ code: "rate_limited", detail: "too many requests" }, { status: 429 });
      return HttpResponse.json({ lines: [line(201)], next_after: 201 });
    }),
  );
  renderApp(<Logs job={job} />);
  expect(await screen.findByText("The rest of the log could not be read")).toBeTruthy();
  expect(screen.getByText("200 lines")).toBeTruthy();
  await new Promise((later) => setTimeout(later, 200));
  expect(asked).toEqual(["0", "200"]);

  refuses = false;
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("201 lines")).toBeTruthy();
  await waitFor(() => expect(screen.queryByRole("alert")).toBeNull());
});
