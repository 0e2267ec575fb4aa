import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, many } from "@/lib/api/lists";

export type Key = Schemas["Key"];

export const useKeys = (query: ListQuery<"/api/keys"> = {}) =>
  $api.useQuery(
    "get",
    "/api/keys",
    { params: { query: { limit: many, project_id: useProjectId(), ...query } } },
    keepPage,
  );

export const keyHref = (id: string) => `/key?id=${id}`;
