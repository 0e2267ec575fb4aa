import { render, screen, within } from "@testing-library/react";
import { expect, test, vi } from "vitest";
import Configuration from "./Configuration";
import type { Job } from "./queries";
import Setbacks from "./Setbacks";

vi.mock("next/navigation", () => import("@tests/navigation"));

const job = {
  id: "job_1",
  dataset_id: "ds_1",
  model_id: "small",
  epoch: 3,
  config: { learning_rate: 0.001, batch_size: 4, gradient_accumulation_steps: 2, max_length: 64 },
} as Job;

const factOf = (label: string) => screen.getByText(label).nextElementSibling!.textContent;

test("what failures have changed is told one after the other", () => {
  const setbacks = ["Memory was short after step 41.", "The checkpoint of step 60 was damaged."].map((text) => ({
    at: "2026-11-24T09:31:02Z",
    code: "out_of_memory" as const,
    step: 41,
    text,
  }));
  render(<Setbacks setbacks={setbacks} />);
  const notice = screen.getByRole("status");
  expect(notice.textContent).toContain("It went on by itself after 2 setbacks");
  expect(within(notice).getAllByRole("listitem")[0]!.textContent).toMatch(/^Memory was short after step 41. .*ago/);
});

test("the configuration says what holds, and what was said", () => {
  render(
    <Configuration
      job={{ ...job, adjusted: { code: "out_of_memory", step: 41, batch_size: 2, gradient_accumulation_steps: 4 } }}
    />,
  );
  expect(factOf("Rows at a time")).toBe("2 instead of 4, after a failure");
  expect(factOf("Times a step")).toBe("4 instead of 2, after a failure");
  expect(factOf("Learning rate")).toBe("0.001");
});

test("a rate that was halved is said as what it comes to", () => {
  render(<Configuration job={{ ...job, adjusted: { code: "non_finite_loss", step: 41, learning_rate_scale: 0.5 } }} />);
  expect(factOf("Learning rate")).toBe("5e-4 instead of 0.001, after a failure");
  expect(factOf("Rows at a time")).toBe("4");
});

test("a job without a failure has what it was told", () => {
  render(<Configuration job={job} />);
  expect(factOf("Longest row")).toBe("64");
});
