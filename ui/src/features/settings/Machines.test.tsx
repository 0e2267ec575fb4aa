import { render, screen } from "@testing-library/react";
import { expect, test } from "vitest";
import { Machines } from "./Machines";

test("what keeps the server from writing, and a backup that failed, are said where the machines are", () => {
  const system = {
    version: "1",
    workers: [],
    storage: "the disk is full: free some space",
    backup_failed: "the folder is gone",
  };
  const { rerender } = render(<Machines system={system} />);
  expect(screen.getByRole("alert").textContent).toContain("the disk is full: free some space");
  screen.getByText("the folder is gone");
  rerender(<Machines system={{ version: "1", workers: [] }} />);
  expect(screen.queryByRole("alert")).toBeNull();
});
