import { useSearchParams } from "next/navigation";

/** This page's address with some of its parameters changed; undefined or empty takes one away. */
export function address(changes: Record<string, string | undefined>): string {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) params.set(name, value);
    else params.delete(name);
  }
  return params.size > 0 ? `${location.pathname}?${params}` : location.pathname;
}

/** Which of a page's views is open, kept in the address; the usual one needs no mention, and what narrows one is not another's. */
export function useTab(usual: string): [string, (tab: string) => void] {
  const params = useSearchParams();
  const open = (tab: string) => {
    const others = [...params.keys()].filter((name) => name !== "id").map((name) => [name, undefined]);
    history.replaceState(null, "", address({ ...Object.fromEntries(others), tab: tab === usual ? undefined : tab }));
  };
  return [params.get("tab") ?? usual, open];
}
