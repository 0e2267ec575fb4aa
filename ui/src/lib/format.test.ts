import { expect, test } from "vitest";
import { ago, bytes, duration, durationRange, measure } from "./format";

test("numbers keep their meaning at every size", () => {
  expect(measure(0.0002)).toBe("2.00e-4");
  expect(measure(1.20449)).toBe("1.204");
  expect(measure(0)).toBe("0");
  expect(measure(undefined)).toBe("–");
  expect(measure(Number.NaN)).toBe("–");
});

test("sizes are in powers of 1024 and say so", () => {
  expect(bytes(0)).toBe("0 B");
  expect(bytes(1536)).toBe("1.5 KiB");
  expect(bytes(300 * 1024 ** 3)).toBe("300 GiB");
});

test("spans show their two largest units", () => {
  expect(duration(0.4)).toBe("< 1 s");
  expect(duration(59.6)).toBe("1 min");
  expect(duration(200)).toBe("3 min 20 s");
  expect(duration(7_260)).toBe("2 h 1 min");
});

test("a range is said without false precision", () => {
  expect(durationRange(118, 190)).toBe("2 to 3 min");
  expect(durationRange(61, 62)).toBe("about 60 s");
  expect(durationRange(61, 240)).toBe("1 to 4 min");
  expect(durationRange(40, 400)).toBe("40 s to 7 min");
});

test("time ago", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  expect(ago("2026-11-24T11:59:40Z", now)).toBe("just now");
  expect(ago("2026-11-24T11:00:00Z", now)).toBe("1 hour ago");
  expect(ago("2026-11-22T12:00:00Z", now)).toBe("2 days ago");
});
