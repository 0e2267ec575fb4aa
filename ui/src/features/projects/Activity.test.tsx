import { screen } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { Activity } from "./Activity";

vi.mock("next/navigation", () => import("@tests/navigation"));

test("what happens just after midnight happens at 00, not at 24", async () => {
  const at = new Date(2026, 10, 28, 0, 5).toISOString();
  server.use(
    http.get(`${origin}/api/projects/project_1/activity`, () =>
      HttpResponse.json({
        items: [
          { id: 1, at, kind: "job", action: "job.failed", resource_id: "job_1", text: "the training “Sums” failed" },
        ],
      }),
    ),
  );
  renderApp(<Activity id="project_1" />);
  expect(await screen.findByText("00:05")).toBeTruthy();
});
