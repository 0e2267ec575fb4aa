import { screen } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { NewModel } from "./NewModel";

vi.mock("next/navigation", () => import("@tests/navigation"));

const given = (told: object) => {
  history.replaceState(null, "", "/new?dataset=ds_1");
  server.use(
    http.get(`${origin}/api/datasets/ds_1`, () =>
      HttpResponse.json({ id: "ds_1", name: "tickets", size: 9, created_at: "2026-11-28T10:00:00Z", ...told }),
    ),
    http.get(`${origin}/api/models`, () =>
      HttpResponse.json({
        items: [
          { id: "small", name: "Small Instruct", kind: "base", source: "bundled:small", description: "Comes along" },
          { id: "large", name: "Large", kind: "base", source: "hub:a/large" },
        ],
      }),
    ),
  );
};

test("a file that cannot be used is not started with, and the way on is named", async () => {
  given({
    status: "failed",
    error: { code: "bad_data", field: "mapping", message: "no known format has the columns" },
  });
  renderApp(<NewModel />);
  const way = await screen.findByRole("link", { name: "Choose the columns" });
  expect(way.getAttribute("href")).toBe("/dataset?id=ds_1");
  expect(screen.queryByText(/Being read/)).toBeNull();
  expect(screen.getByRole("button", { name: "Start" })).toHaveProperty("disabled", true);
});

test("the bundled model is called by its name, once", async () => {
  given({ status: "ready", train_rows: 20, eval_rows: 4 });
  renderApp(<NewModel />);
  expect(await screen.findByRole("option", { name: "Small Instruct (bundled)" })).toHaveProperty("value", "");
  expect(screen.getAllByRole("option", { name: /Small Instruct/ })).toHaveLength(1);
  expect(screen.getByText("20 rows to train on, 4 held out")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Start" })).toHaveProperty("disabled", false);
});
