import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { api } from "./client";
import { connection } from "./connection";
import type { Problem } from "./problem";
import { onSignedOut } from "./session";

const refused = () =>
  HttpResponse.json(
    { title: "Unauthorized", status: 401, code: "unauthenticated", detail: "the session has ended" },
    { status: 401 },
  );

test("a session that has run out is renewed once, however many requests notice, and each is answered", async () => {
  let fresh = false;
  let renewals = 0;
  const bodies: unknown[] = [];
  server.use(
    http.post(`${origin}/api/auth/refresh`, () => {
      renewals++;
      fresh = true;
      return HttpResponse.json({});
    }),
    http.get(`${origin}/api/training`, () => (fresh ? HttpResponse.json({ items: [] }) : refused())),
    http.post(`${origin}/api/keys/generate`, async ({ request }) => {
      bodies.push(await request.json());
      return bodies.length === 1
        ? refused()
        : HttpResponse.json({ key: { id: "key_1" }, secret: "s" }, { status: 201 });
    }),
  );
  const out = vi.fn();
  const stop = onSignedOut(out);
  await Promise.all([
    api.GET("/api/training"),
    api.GET("/api/training"),
    api.POST("/api/keys/generate", { body: { name: "laptop" } }),
  ]);
  expect(renewals).toBe(1);
  expect(bodies).toEqual([{ name: "laptop" }, { name: "laptop" }]);
  expect(out).not.toHaveBeenCalled();
  stop();
});

test("when renewing does not help, the user is sent to sign in, and the refusal is told", async () => {
  server.use(http.post(`${origin}/api/auth/refresh`, refused), http.get(`${origin}/api/training`, refused));
  const out = vi.fn();
  const stop = onSignedOut(out);
  await expect(api.GET("/api/training")).rejects.toMatchObject({
    status: 401,
    message: "the session has ended",
  } satisfies Partial<Problem>);
  expect(out).toHaveBeenCalledOnce();
  stop();
});

test("a server that cannot be reached is noticed, and noticed again when it answers", async () => {
  server.use(http.get(`${origin}/api/training`, () => HttpResponse.error()));
  await expect(api.GET("/api/training")).rejects.toMatchObject({ code: "unreachable" });
  expect(connection.get()).toBe(false);
  server.use(http.get(`${origin}/healthz`, () => HttpResponse.json({ status: "ok" })));
  await connection.retry();
  expect(connection.get()).toBe(true);
});

test("a refusal names field and remedy", async () => {
  server.use(
    http.post(`${origin}/api/keys/generate`, () =>
      HttpResponse.json(
        { title: "x", status: 400, code: "invalid", detail: "the name is empty", field: "name", remedy: "give it one" },
        { status: 400 },
      ),
    ),
  );
  await expect(api.POST("/api/keys/generate", { body: { name: "" } })).rejects.toMatchObject({
    field: "name",
    remedy: "give it one",
  });
});

test("a wish that nobody answered keeps its key when it is sent again; an answered one does not", async () => {
  const keys: (string | null)[] = [];
  let lost = true;
  server.use(
    http.post(`${origin}/api/pipelines`, ({ request }) => {
      keys.push(request.headers.get("Idempotency-Key"));
      return lost ? HttpResponse.error() : HttpResponse.json({ id: "pipe_1" }, { status: 201 });
    }),
  );
  const start = () => api.POST("/api/pipelines", { body: { dataset_id: "ds_1" } });
  await expect(start()).rejects.toMatchObject({ code: "unreachable" });
  lost = false;
  await start();
  await start();
  expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(keys[1]).toBe(keys[0]);
  expect(keys[2]).not.toBe(keys[0]);
});
