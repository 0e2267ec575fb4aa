import { useSearchParams } from "next/navigation";
import { useRef } from "react";
import { address } from "./address";

/** How lists can be ordered, in the API's words and in people's. */
const orders = {
  "-created": "Newest first",
  created: "Oldest first",
  "-updated": "Last changed first",
  updated: "Longest unchanged first",
  name: "Name, A to Z",
  "-name": "Name, Z to A",
} as const;

export type Order = keyof typeof orders;
export const orderLabel = (order: Order) => orders[order];

export const byTime = ["-created", "created", "-updated"] as const;
export const byTimeAndName = [...byTime, "name", "-name"] as const;
export const keyOrders = ["-created", "created", "name", "-name"] as const;

export type Listing = ReturnType<typeof useListing>;

/**
 * What a list shows, as its address says it: a search (q), filters by their names, an order (sort) and a page (cursor).
 * A change of any of them begins at the first page again.
 */
export function useListing(...filters: string[]) {
  const params = useSearchParams();
  // Where each page was come to from; a page that was opened by its address has none.
  const before = useRef(new Map<string, string | undefined>());
  const get = (name: string) => params.get(name) || undefined;
  const narrowing = ["q", ...filters];

  const set = (changes: Record<string, string | undefined>) =>
    history.replaceState(null, "", address({ ...changes, cursor: undefined }));
  const turnTo = (cursor: string | undefined) => {
    history.pushState(null, "", address({ cursor }));
    scrollTo({ top: 0 });
  };

  const cursor = get("cursor");
  return {
    q: get("q"),
    cursor,
    get,
    /** All values of a parameter; undefined: none. */
    all: (name: string) => (params.has(name) ? params.getAll(name) : undefined),
    /** The value of a parameter, if it is one of these; what an address makes up is left aside. */
    oneOf: <T extends string>(name: string, allowed: readonly T[]) => allowed.find((value) => value === get(name)),
    set,
    narrowed: cursor !== undefined || narrowing.some((name) => get(name) !== undefined),
    clear: () => set(Object.fromEntries(narrowing.map((name) => [name, undefined]))),
    /** Whether the page before this one is known; if not, there is only the first. */
    knowsBack: cursor !== undefined && before.current.has(cursor),
    back: () => turnTo(cursor && before.current.get(cursor)),
    next: (to: string) => {
      before.current.set(to, cursor);
      turnTo(to);
    },
  };
}
