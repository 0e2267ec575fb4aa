import { keepPreviousData } from "@tanstack/react-query";
import type { paths } from "./schema.gen";

/** What the list at a path can be asked for. */
export type ListQuery<P extends keyof paths> = paths[P] extends { get: { parameters: { query?: infer Q } } }
  ? NonNullable<Q>
  : never;

export const pageSize = 50;
/** As many as the API gives at once: for what is chosen from, not paged through. */
export const many = 200;

/** A page stays until the next one, or the narrower one, is there. */
export const keepPage = { placeholderData: keepPreviousData };
