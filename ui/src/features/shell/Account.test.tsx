import { screen, waitFor } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import { chooseProject, currentProject } from "@/features/projects/current";
import { ProjectSwitch } from "./Account";

vi.mock("next/navigation", () => import("@tests/navigation"));

const project = (id: string, status = "active") => ({ id, name: id.replace("project_", ""), status });

beforeEach(() =>
  server.use(
    http.get(`${origin}/api/projects`, () =>
      HttpResponse.json({ items: [project("project_main"), project("project_old", "archived")] }),
    ),
  ),
);

test("a chosen project that is archived is named: lists are narrowed to it", async () => {
  chooseProject("project_old");
  renderApp(<ProjectSwitch />);
  expect(await screen.findByText("old")).toBeTruthy();
  expect(currentProject()).toBe("project_old");
});

test("a chosen project that is gone, or somebody else's, is left for all of them", async () => {
  server.use(
    http.get(`${origin}/api/projects/project_theirs`, () =>
      HttpResponse.json({ code: "not_found", detail: "there is no project" }, { status: 404 }),
    ),
  );
  chooseProject("project_theirs");
  renderApp(<ProjectSwitch />);
  expect(await screen.findByText("All projects")).toBeTruthy();
  await waitFor(() => expect(currentProject()).toBeUndefined());
});

test("a chosen project that the list does not have yet stays chosen", async () => {
  const asked = vi.fn();
  server.use(
    http.get(`${origin}/api/projects/project_new`, () => {
      asked();
      return HttpResponse.json(project("project_new"));
    }),
  );
  chooseProject("project_new");
  renderApp(<ProjectSwitch />);
  await waitFor(() => expect(asked).toHaveBeenCalled());
  await new Promise((later) => setTimeout(later, 50));
  expect(currentProject()).toBe("project_new");
});
