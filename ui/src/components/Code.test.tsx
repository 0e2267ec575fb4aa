import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { expect, test, vi } from "vitest";
import { CopyButton } from "./Code";

test("what could not be copied is not taken for copied", async () => {
  const user = userEvent.setup();
  vi.spyOn(navigator.clipboard, "writeText").mockRejectedValue(new Error("denied"));
  renderApp(<CopyButton text="vf_secret" />);
  await user.click(screen.getByRole("button", { name: "Copy" }));
  expect((await screen.findAllByText("It was not copied")).length).toBeGreaterThan(0);
  expect(screen.queryByText("Copied")).toBeNull();
});
