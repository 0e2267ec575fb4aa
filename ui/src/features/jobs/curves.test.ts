import { expect, test } from "vitest";
import { Curves, ends, sideBySide, smooth } from "./curves";

const none = Number.NaN;
const column = (...values: number[]) => Float64Array.from(values);

test("train and eval of one step stand on one step, whichever comes first", () => {
  const curves = new Curves();
  curves.put({ step: 2, eval_loss: 3 });
  curves.put({ step: 2, loss: 4 });
  curves.put({ step: 1, loss: 5 });
  curves.put({ step: 3, loss: 2 });
  expect(curves.steps).toEqual(column(1, 2, 3));
  expect(curves.of("loss")).toEqual(column(5, 4, 2));
  expect(curves.of("eval_loss")).toEqual(column(none, 3, none));
});

test("steps that are told again after a rewind do not double", () => {
  const curves = new Curves();
  for (let step = 1; step <= 10; step++) curves.put({ step, loss: 1 / step });
  for (let step = 6; step <= 12; step++) curves.put({ step, loss: 1 / step });
  expect([...curves.steps]).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(curves.of("loss").every((loss, i) => loss === 1 / (i + 1))).toBe(true);
});

test("a hundred thousand points are taken in a moment", () => {
  const curves = new Curves();
  for (let step = 0; step < 100_000; step++) curves.put({ step, loss: step });
  expect(curves.length).toBe(100_000);
  expect(curves.of("loss").every((loss, i) => loss === i)).toBe(true);
  expect(curves.of("grad_norm").every(Number.isNaN)).toBe(true);
});

test("smoothing starts at the first value, keeps gaps, and a constant as it is", () => {
  expect(smooth(column(5, 5, none, 5), 0.9).map((v) => Math.round(v * 1e9) / 1e9)).toEqual(column(5, 5, none, 5));
  const [first, second] = smooth(column(4, 2), 0.5);
  expect(first).toBe(4);
  expect(second).toBeCloseTo((4 * 0.5 * 0.5 + 2 * 0.5) / 0.75);
  expect(smooth(column(1, 2), 0)).toEqual(column(1, 2));
});

test("runs of different steps stand over the same ones", () => {
  const [steps, ...columns] = sideBySide([
    [
      { step: 1, loss: 3 },
      { step: 2, loss: 3, eval_loss: 4 },
    ],
    [
      { step: 2, loss: 5 },
      { step: 4, loss: 5 },
    ],
  ]);
  expect(steps).toEqual(column(1, 2, 4));
  expect(columns.map((values) => values.map(Math.round))).toEqual([
    column(3, 3, none),
    column(none, 4, none),
    column(none, 5, 5),
    column(none, none, none),
  ]);
});

test("the ends of a column are the first and the last value that it has", () => {
  expect(ends(column(none, 3, none, 4, none))).toEqual([3, 4]);
  expect(ends(column(none, 3))).toEqual([3, 3]);
  expect(ends(column(none, none))).toEqual([undefined, undefined]);
  expect(ends(column())).toEqual([undefined, undefined]);
});
