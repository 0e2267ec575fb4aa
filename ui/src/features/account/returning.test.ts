import { expect, test } from "vitest";
import { returnPath } from "./returning";

test("one comes back to where one was", () => {
  expect(returnPath("?return=%2Fjob%3Fid%3Djob_1")).toBe("/job?id=job_1");
  expect(returnPath("")).toBe("/");
});

test("no address leads to another site", () => {
  for (const evil of [
    "https://evil.example/",
    "//evil.example",
    "\\\\evil.example",
    "javascript:alert(1)",
    "http:evil.example",
    "/.//evil.example",
    "/x/..//evil.example/",
    "http://",
  ]) {
    expect(returnPath(`?return=${encodeURIComponent(evil)}`)).toMatch(/^\/(evil\.example\/?)?$/);
  }
});
