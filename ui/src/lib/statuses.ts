import type { Schemas } from "./api/client";
import type { Listing } from "./listing";

/** Statuses as one looks for them: several of the API's under one name, as it stands in the address. */
export type StatusGroups = Record<string, [label: string, statuses: Schemas["Status"][]]>;

export const statusOptions = (groups: StatusGroups) =>
  Object.entries(groups).map(([name, [label]]) => [name, label] as const);

/** The statuses that a list is narrowed to; undefined: to none. */
export const statusOf = (list: Listing, groups: StatusGroups) =>
  groups[list.oneOf("status", Object.keys(groups)) ?? ""]?.[1];
