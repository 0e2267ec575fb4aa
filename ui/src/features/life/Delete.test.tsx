import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { expect, test, vi } from "vitest";
import DeleteDialog from "./Delete";

vi.mock("next/navigation", () => import("@tests/navigation"));

test("what has been deleted is not asked what would go with it", async () => {
  const user = userEvent.setup();
  const asked: string[] = [];
  const remove = async (preview: boolean) => {
    asked.push(preview ? "preview" : "delete");
    await new Promise((later) => setTimeout(later, 20));
    return { kind: "dataset", id: "ds_1", deleted: !preview, also: [], files: 1, bytes: 10 };
  };
  renderApp(<DeleteDialog name="numbers" remove={remove} back="/datasets" onClose={() => {}} />);
  await screen.findByText(/1 stored file, 10 B, is freed/);
  await user.click(screen.getByRole("button", { name: "Delete it" }));
  await waitFor(() => expect(location.pathname).toBe("/datasets"));
  expect(asked).toEqual(["preview", "delete"]);
});
