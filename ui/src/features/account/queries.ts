import { $api, type Schemas } from "@/lib/api/client";

export type Me = Schemas["Me"];
export type User = Schemas["User"];

export const useMe = () => $api.useQuery("get", "/api/me", {}, { staleTime: 60_000 });

/** What somebody is called. */
export const nameOf = (user: Pick<User, "name" | "email"> | undefined) =>
  user?.name || user?.email || "This machine's owner";
