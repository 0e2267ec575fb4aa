import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import type { Dataset } from "./queries";
import { Rows } from "./Rows";

const dataset = {
  id: "ds_1",
  project_id: "proj_1",
  name: "Support",
  status: "ready",
  size: 100,
  train_rows: 7,
  eval_rows: 1,
  created_at: "2026-11-28T10:00:00Z",
  updated_at: "2026-11-28T10:00:00Z",
} as Dataset;

/** A row of a question that is read and an answer that is learnt; with everything learnt, the question is too. */
const rowOf = (row: number, all: boolean) => ({
  row,
  length: 5,
  tokens: [
    { id: 11, text: "Hi\n", trained: all },
    { id: 12, text: `question${row}`, trained: all },
    { id: 13, text: "answer", trained: true },
    { id: 14, text: "<end>", trained: true },
  ],
});

/** The queries that were asked. */
let asked: Record<string, string>[];

beforeEach(() => {
  asked = [];
  server.use(
    http.get(`${origin}/api/datasets/ds_1/preview`, () => HttpResponse.json({ rows: [] })),
    http.get(`${origin}/api/models`, () =>
      HttpResponse.json({ items: [{ id: "tiny-llama", name: "Tiny", kind: "base", parameters: 1000 }] }),
    ),
    http.get(`${origin}/api/datasets/ds_1/tokens`, ({ request }) => {
      const query = Object.fromEntries(new URL(request.url).searchParams);
      asked.push(query);
      const first = Number(query.offset);
      const rows = [first, first + 1].map((row) => rowOf(row, query.learn_all === "true"));
      return HttpResponse.json({ rows, next_offset: first === 0 ? 5 : undefined });
    }),
  );
});

const open = async (user: ReturnType<typeof userEvent.setup>) => {
  renderApp(<Rows dataset={dataset} />);
  await user.click(screen.getByRole("radio", { name: "Tokens" }));
};

/** The tokens of a row that the model learns, as they are marked. */
const learnt = (row: HTMLElement) =>
  within(row)
    .getAllByTitle(/, learnt$/)
    .map(({ textContent }) => textContent);

test("a row stands as its tokens, and those that the model learns are marked", async () => {
  const user = userEvent.setup();
  await open(user);
  const row = await screen.findByRole("article", { name: "Row 1" });
  expect(within(row).getByText("Row 1 · 5 tokens, 2 learnt")).toBeTruthy();
  expect(learnt(row)).toEqual(["answer", "<end>"]);
  expect(within(row).getByTitle("11, read only").textContent).toBe("Hi↵\n");
  expect(within(row).getByText("… 1 more token")).toBeTruthy();
  expect(asked).toEqual([{ split: "train", offset: "0", limit: "5", learn_all: "false" }]);
});

test("learning everything marks the question too", async () => {
  const user = userEvent.setup();
  await open(user);
  await user.click(await screen.findByLabelText("Learn everything"));
  await waitFor(() =>
    expect(learnt(screen.getByRole("article", { name: "Row 1" }))).toEqual(["Hi↵\n", "question0", "answer", "<end>"]),
  );
  expect(asked.at(-1)?.learn_all).toBe("true");
});

test("another model's tokenizer is asked, and another part of the rows", async () => {
  const user = userEvent.setup();
  await open(user);
  await screen.findByRole("article", { name: "Row 1" });
  await user.selectOptions(screen.getByLabelText("Model"), "tiny-llama");
  await waitFor(() => expect(asked.at(-1)).toMatchObject({ model_id: "tiny-llama", split: "train" }));
  await user.click(screen.getByRole("radio", { name: /^Held out/ }));
  await waitFor(() => expect(asked.at(-1)).toMatchObject({ split: "eval", offset: "0" }));
});

test("rows are gone through page by page, and not past the last", async () => {
  const user = userEvent.setup();
  await open(user);
  const next = await screen.findByRole("button", { name: "Next" });
  expect((screen.getByRole("button", { name: "Previous" }) as HTMLButtonElement).disabled).toBe(true);
  await user.click(next);
  expect(await screen.findByRole("article", { name: "Row 6" })).toBeTruthy();
  expect((next as HTMLButtonElement).disabled).toBe(true);
  await user.click(screen.getByRole("button", { name: "Previous" }));
  expect(await screen.findByRole("article", { name: "Row 1" })).toBeTruthy();
});

test("what cannot be read is said, and tried again", async () => {
  const user = userEvent.setup();
  const detail = "no worker can read this model";
  server.use(
    http.get(
      `${origin}/api/datasets/ds_1/tokens`,
      () => HttpResponse.json({ status: 409, code: "conflict", title: detail, detail }, { status: 409 }),
      { once: true },
    ),
  );
  await open(user);
  expect(within(await screen.findByRole("alert")).getByText("No worker can read this model.")).toBeTruthy();
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByRole("article", { name: "Row 1" })).toBeTruthy();
});
