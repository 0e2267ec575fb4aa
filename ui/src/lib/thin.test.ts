import { expect, test } from "vitest";
import { type Columns, thin } from "./thin";

const curve = (n: number): Columns => {
  const steps = Float64Array.from({ length: n }, (_, i) => i + 1);
  return [steps, steps.map((s) => Math.sin(s / 50)), steps.map((s) => (s % 1000 === 0 ? s : Number.NaN))];
};

test("a short curve stays whole, with null for what is not there", () => {
  const [steps, dense, sparse] = curve(1_000);
  const thinned = thin([steps, dense!, sparse!], 300);
  expect(thinned).toEqual([[...steps], [...dense!], [...Array(999).fill(null), 1_000]]);
  const nothing = new Float64Array();
  expect(thin([nothing, nothing], 100)).toEqual([[], []]);
  expect(thin([nothing, nothing], 100, { from: 0, to: 1 })).toEqual([[], []]);
});

test("a long curve keeps its extent, its extremes, its order, and every point of a sparse line", () => {
  const columns = curve(100_000);
  columns[1]![54_321] = 99;
  columns[1]![77_777] = -99;
  const [steps, dense, sparse] = thin(columns, 500);
  expect(steps!.length).toBeLessThan(500 * 4 + 2);
  expect([steps![0], steps!.at(-1)]).toEqual([1, 100_000]);
  expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
  expect(dense!.filter((v) => Math.abs(v!) > 1)).toEqual([99, -99]);
  expect(sparse!.filter((v) => v !== null)).toEqual([...columns[2]!.filter((v) => v > 0)]);
});

test("a part that is looked at closely has all its points", () => {
  const [steps] = thin(curve(100_000), 500, { from: 2_000, to: 2_100 });
  expect(steps!.slice(1, -1)).toEqual(Array.from({ length: 103 }, (_, i) => 1_999 + i));
});
