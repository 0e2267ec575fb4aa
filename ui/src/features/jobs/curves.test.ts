import { expect, test } from "vitest";
import { Curves, sideBySide, smooth } from "./curves";

test("train and eval of one step stand on one step, whichever comes first", () => {
  const curves = new Curves();
  curves.put({ step: 2, eval_loss: 3 });
  curves.put({ step: 2, loss: 4 });
  curves.put({ step: 1, loss: 5 });
  curves.put({ step: 3, loss: 2 });
  expect(curves.steps).toEqual([1, 2, 3]);
  expect(curves.values.loss).toEqual([5, 4, 2]);
  expect(curves.values.eval_loss).toEqual([null, 3, null]);
});

test("steps that are told again after a rewind do not double", () => {
  const curves = new Curves();
  for (let step = 1; step <= 10; step++) curves.put({ step, loss: 1 / step });
  for (let step = 6; step <= 12; step++) curves.put({ step, loss: 1 / step });
  expect(curves.steps).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(curves.values.loss.every((loss, i) => loss === 1 / (i + 1))).toBe(true);
});

test("a hundred thousand points are taken in a moment", () => {
  const curves = new Curves();
  for (let step = 0; step < 100_000; step++) curves.put({ step, loss: step });
  expect(curves.length).toBe(100_000);
});

test("smoothing starts at the first value, keeps gaps, and a constant as it is", () => {
  expect(smooth([5, 5, null, 5], 0.9).map((v) => v && Math.round(v * 1e9) / 1e9)).toEqual([5, 5, null, 5]);
  const [first, second] = smooth([4, 2], 0.5);
  expect(first).toBe(4);
  expect(second).toBeCloseTo((4 * 0.5 * 0.5 + 2 * 0.5) / 0.75);
  expect(smooth([1, 2], 0)).toEqual([1, 2]);
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
  expect(steps).toEqual([1, 2, 4]);
  expect(columns.map((values) => values.map((v) => v && Math.round(v)))).toEqual([
    [3, 3, null],
    [null, 4, null],
    [null, 5, 5],
    [null, null, null],
  ]);
});
