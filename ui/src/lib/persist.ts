import { type DehydratedState, dehydrate, hydrate, type QueryClient } from "@tanstack/react-query";
import { clear, get, set } from "idb-keyval";

// react-query's own persister pins another version of its core, which would be in every page twice.

type Kept = { api: string; at: number; state: DehydratedState };

const key = "queries";
const keptFor = 7 * 86_400_000;
const pause = 1_000;
const api = process.env.NEXT_PUBLIC_API ?? "";

/** Once it is so, nothing more is kept: what a page that is being left still knows is not its next user's. */
let forgotten = false;

/** Shows what was last seen until the server has answered, and keeps what it answers. Returns what stops it. */
export function persist(client: QueryClient): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const save = () => {
    clearTimeout(timer);
    timer = undefined;
    if (forgotten) return;
    const state = dehydrate(client, { shouldDehydrateQuery: ({ state }) => state.status === "success" });
    void set(key, { api, at: Date.now(), state } satisfies Kept).catch(nowhereToKeep);
  };
  void get<Kept>(key).then((kept) => {
    if (kept?.api === api && Date.now() - kept.at < keptFor) hydrate(client, kept.state);
  }, nowhereToKeep);
  const stop = client.getQueryCache().subscribe(({ type }) => {
    if (type === "updated") timer ??= setTimeout(save, pause);
  });
  // A page that is left may not come back: it keeps at once what still waits.
  const leave = () => {
    if (document.visibilityState === "hidden" && timer) save();
  };
  document.addEventListener("visibilitychange", leave);
  return () => {
    stop();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", leave);
  };
}

/** Forgets what was kept, for good: it is nobody's to see after the next sign-in. */
export function forgetKept() {
  forgotten = true;
  return clear().catch(nowhereToKeep);
}

/** A private window has no such store; the app then begins empty. */
const nowhereToKeep = () => undefined;
