import { forgetKept } from "@/lib/persist";

/** Where to go after signing in: a path of our own that the address names, else the dashboard. */
export function returnPath(search: string): string {
  const wanted = new URLSearchParams(search).get("return");
  if (!wanted) return "/";
  const url = new URL(wanted, location.origin);
  return url.origin === location.origin ? url.pathname + url.search : "/";
}

/** A whole load, so that nothing of who was signed in before is left, neither in memory nor kept. */
export async function leaveFor(path: string): Promise<void> {
  await forgetKept();
  location.replace(path);
}
