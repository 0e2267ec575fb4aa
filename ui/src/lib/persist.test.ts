import { QueryClient } from "@tanstack/react-query";
import { afterEach, expect, test, vi } from "vitest";
import { forgetKept, persist } from "./persist";

const kept = vi.hoisted(() => new Map<string, unknown>());
vi.mock("idb-keyval", () => ({
  get: async (key: string) => kept.get(key),
  set: async (key: string, value: unknown) => void kept.set(key, value),
  clear: async () => kept.clear(),
}));

/** The page is left, as when the browser goes to another. */
function leave() {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  document.dispatchEvent(new Event("visibilitychange"));
}

afterEach(() => kept.clear());

test("a page that is left keeps what it was just answered", () => {
  const client = new QueryClient();
  const stop = persist(client);
  client.setQueryData(["jobs"], ["support"]);
  leave();
  expect(JSON.stringify([...kept])).toContain("support");
  stop();
});

test("a page that is left by signing out keeps nothing, whatever it was answered last", async () => {
  const client = new QueryClient();
  const stop = persist(client);
  client.setQueryData(["jobs"], ["support"]);
  await forgetKept();
  client.setQueryData(["jobs"], ["support", "sums"]);
  leave();
  expect(kept.size).toBe(0);
  stop();
});
