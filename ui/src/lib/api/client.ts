import createFetchClient from "openapi-fetch";
import createQueryClient from "openapi-react-query";
import { idempotent } from "./idempotency";
import { Problem } from "./problem";
import type { components, paths } from "./schema.gen";
import { sessionFetch } from "./session";

export type Schemas = components["schemas"];

/** The API as its document says it; every refusal is thrown as a Problem. */
export const api = createFetchClient<paths>({ baseUrl: origin(), fetch: idempotent(sessionFetch) });

api.use({
  async onResponse({ response }) {
    if (!response.ok) throw await Problem.of(response);
  },
});

/** Queries and mutations over the same client. */
export const $api = createQueryClient(api);

function origin(): string {
  return typeof location === "undefined" ? "http://vibeflow.invalid" : location.origin;
}
