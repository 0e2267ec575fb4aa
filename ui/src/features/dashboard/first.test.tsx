import { waitFor } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { afterEach, expect, test, vi } from "vitest";
import { Shell } from "@/features/shell/Shell";
import { askAhead } from "@/lib/api/ahead";
import { Dashboard } from "./Dashboard";
import { first } from "./first";

vi.mock("next/navigation", () => import("@tests/navigation"));

const answers: Record<string, object> = {
  "/api/me": { role: "owner", user: { id: "user_1", email: "ada@example.com", role: "owner" } },
  "/api/system": { version: "1", workers: [], disk_free_bytes: 1 },
};

afterEach(() => {
  localStorage.clear();
  globalThis.askedAhead = undefined;
});

test.each([
  undefined,
  "proj_1",
])("what is asked for ahead is what the dashboard asks for, once (project: %s)", async (project) => {
  if (project) localStorage.setItem("project", project);
  const heard: string[] = [];
  server.use(
    http.get(`${origin}/api/*`, ({ request }) => {
      const { pathname, search } = new URL(request.url);
      heard.push(pathname + search);
      return HttpResponse.json(answers[pathname] ?? { items: [] });
    }),
  );
  new Function(askAhead(first))();
  const ahead = Object.keys(globalThis.askedAhead!).map((url) => url.slice(origin.length));
  renderApp(
    <Shell>
      <Dashboard />
    </Shell>,
  );
  await waitFor(() => expect(Object.keys(globalThis.askedAhead!)).toEqual([]));
  expect(heard.filter((path) => ahead.includes(path)).toSorted()).toEqual(ahead.toSorted());
});
