import { expect, test } from "vitest";
import { type Model, originOf } from "./queries";

const from = (source?: string) => originOf({ source } as Model);

test("where a base model comes from is said in words, whatever the source", () => {
  expect(from("bundled:smollm2-135m-instruct")).toBe("VibeFlow itself: nothing is downloaded");
  expect(from("hub:owner/name")).toBe("The Hugging Face Hub: owner/name");
  expect(from("path:/models/a:b")).toBe("A folder of this machine: /models/a:b");
  expect(from("upload")).toBe("Uploaded here");
  expect(from("another")).toBe("another");
  expect(from()).toBe("–");
});
