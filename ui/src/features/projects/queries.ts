import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, many } from "@/lib/api/lists";

export type Project = Schemas["Project"];

export const useProjects = (query: ListQuery<"/api/projects"> = {}) =>
  $api.useQuery("get", "/api/projects", { params: { query: { limit: many, ...query } } }, keepPage);

export const useProject = (id: string) => $api.useQuery("get", "/api/projects/{id}", { params: { path: { id } } });

export const projectHref = (id: string) => `/project?id=${id}`;
