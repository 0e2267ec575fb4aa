import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { afterEach, expect, test } from "vitest";
import { askAhead, ofProject } from "./ahead";
import { api } from "./client";

const runs = `/api/training?limit=50${ofProject}&kind=tuned`;

/** Runs the line as a page does, which has no other scripts yet. */
const begin = (...paths: string[]) => new Function(askAhead(paths))();

/** The queries of the requests that reach the server. */
function heard(...answers: (() => Response)[]): string[] {
  const queries: string[] = [];
  server.use(
    http.get(`${origin}/api/training`, ({ request }) => {
      queries.push(new URL(request.url).search);
      return answers[queries.length - 1]?.() ?? HttpResponse.json({ items: [] });
    }),
  );
  return queries;
}

const ask = (project_id?: string) =>
  api.GET("/api/training", { params: { query: { limit: 50, project_id, kind: "tuned" } as object } });

afterEach(() => {
  localStorage.clear();
  globalThis.askedAhead = undefined;
});

test("who asks first for what was asked ahead gets its answer, and the next asks anew", async () => {
  const queries = heard();
  begin(runs);
  await ask();
  expect(queries).toEqual(["?limit=50&kind=tuned"]);
  await ask();
  expect(queries).toHaveLength(2);
});

test("the project that lists are narrowed to is asked for, and another's answer is not taken", async () => {
  const queries = heard();
  localStorage.setItem("project", "proj_1");
  begin(runs);
  await ask("proj_1");
  expect(queries).toEqual(["?limit=50&project_id=proj_1&kind=tuned"]);
  begin(runs);
  await ask("proj_2");
  expect(queries.at(-1)).toContain("proj_2");
});

test("a session that has run out is renewed for it too", async () => {
  let renewed = 0;
  server.use(
    http.post(`${origin}/api/auth/refresh`, () => {
      renewed++;
      return HttpResponse.json({});
    }),
  );
  const queries = heard(() => HttpResponse.json({ code: "unauthenticated", detail: "no" }, { status: 401 }));
  begin(runs);
  const { data } = await ask();
  expect(data).toEqual({ items: [] });
  expect([queries.length, renewed]).toEqual([2, 1]);
});

test("a server that was not reached is told as ever", async () => {
  heard(() => HttpResponse.error());
  begin(runs);
  await expect(ask()).rejects.toMatchObject({ code: "unreachable" });
});
