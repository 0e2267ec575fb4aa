import { takeAhead } from "./ahead";
import { connection } from "./connection";
import { Problem } from "./problem";

type Listener = () => void;
const leaving = new Set<Listener>();

/** Calls listener once the session is over and only signing in helps. */
export function onSignedOut(listener: Listener): () => void {
  leaving.add(listener);
  return () => leaving.delete(listener);
}

let refreshing: Promise<boolean> | undefined;

/** Renews the session's cookies. Requests that fail together share one renewal, for a refresh token works once. */
function refresh(): Promise<boolean> {
  refreshing ??= fetch("/api/auth/refresh", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  })
    .then(
      (response) => response.ok,
      () => false,
    )
    .finally(() => {
      refreshing = undefined;
    });
  return refreshing;
}

/**
 * fetch for our own server: says whether it was reached, renews the session once, and tells who listens when that did
 * not help. Answers that are not ok come back as they are.
 */
export async function sessionFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  const request = new Request(input, init);
  const again = request.clone();
  let response = await reach(request);
  if (response.status === 401 && !isSigningIn(request.url)) {
    if (await refresh()) response = await reach(again);
    if (response.status === 401) for (const listener of leaving) listener();
  }
  return response;
}

async function reach(request: Request): Promise<Response> {
  try {
    const response = await (takeAhead(request) ?? fetch(request));
    connection.report(true);
    return response;
  } catch (error) {
    if (request.signal.aborted) throw error;
    connection.report(false);
    throw Problem.unreachable();
  }
}

function isSigningIn(url: string): boolean {
  return /\/api\/auth\/(login|register|refresh|logout)$/.test(new URL(url, location.origin).pathname);
}
