// A page's first requests need not wait for its scripts: a line in the page sends them while those are still on their way,
// and whoever asks first for the same is given the answer.

/** Stands in a path for the project that lists are narrowed to, if they are. */
export const ofProject = "{project}";

declare global {
  /** What was asked for ahead, by address: what each page that has such a line leaves here. */
  var askedAhead: Record<string, Promise<Response>> | undefined;
}

/**
 * The source of such a line. It takes paths as the queries of the page will ask for them, with ofProject in the place of
 * the project; a path that is spelt differently is asked for twice. Behind scripts in the queue, which are wanted first.
 */
export function askAhead(paths: string[]): string {
  return `(() => {
  const id = localStorage.getItem("project");
  globalThis.askedAhead = {};
  for (const path of ${JSON.stringify(paths)}) {
    const url = location.origin + path.replace(${JSON.stringify(ofProject)}, id ? "&project_id=" + encodeURIComponent(id) : "");
    (askedAhead[url] = fetch(url, { priority: "low" })).catch(() => {});
  }
})();`;
}

/** The answer to a request that was sent ahead; once, for the next time asks for what is new. */
export function takeAhead({ method, url }: Request): Promise<Response> | undefined {
  const answer = method === "GET" ? globalThis.askedAhead?.[url] : undefined;
  if (answer) delete globalThis.askedAhead![url];
  return answer;
}
