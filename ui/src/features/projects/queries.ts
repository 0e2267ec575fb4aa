import { $api, type Schemas } from "@/lib/api/client";

export type Project = Schemas["Project"];

export const useProjects = (status?: Schemas["ProjectStatus"]) =>
  $api.useQuery("get", "/api/projects", { params: { query: { limit: 200, status } } });
