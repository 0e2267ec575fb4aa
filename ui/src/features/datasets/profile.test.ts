import { expect, test } from "vitest";
import { charsPerToken, shareOver } from "./profile";

const buckets = [
  { from: 64, to: 127, count: 50 },
  { from: 128, to: 255, count: 50 },
];

test("the share of rows that a length cuts", () => {
  expect(shareOver(buckets, 256 / charsPerToken)).toBe(0);
  expect(shareOver(buckets, 0)).toBe(1);
  expect(shareOver(buckets, 127 / charsPerToken)).toBe(0.5);
  expect(shareOver(buckets, 191.5 / charsPerToken)).toBeCloseTo(0.25, 2);
  expect(shareOver([], 100)).toBe(0);
});
