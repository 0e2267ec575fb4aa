import { cleanup, configure } from "@testing-library/react";
import { afterAll, afterEach, beforeAll } from "vitest";
import { connection } from "@/lib/api/connection";
import { server } from "./server";

// Parts that are loaded when they are first wanted take longer than a second on a busy machine.
configure({ asyncUtilTimeout: 10_000 });

beforeAll(() => server.listen({ onUnhandledRequest: "error" }));
afterEach(() => {
  cleanup();
  server.resetHandlers();
  connection.report(true);
});
afterAll(() => server.close());
