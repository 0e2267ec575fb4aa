import { forgetKept } from "@/lib/persist";

/** Where to go after signing in: a path of our own that the address names, else the dashboard. */
export function returnPath(search: string): string {
  const wanted = new URLSearchParams(search).get("return");
  if (!wanted || !URL.canParse(wanted, location.origin)) return "/";
  const { origin, pathname, search: query } = new URL(wanted, location.origin);
  // Two slashes would begin with a host: "/.//evil.example" is a path until somebody goes to it.
  return origin === location.origin ? pathname.replace(/^\/+/, "/") + query : "/";
}

/** A whole load, so that nothing of who was signed in before is left, neither in memory nor kept. */
export async function leaveFor(path: string): Promise<void> {
  await forgetKept();
  location.replace(path);
}
