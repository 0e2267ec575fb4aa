import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { pollList, pollOne } from "@/lib/poll";

export type Pipeline = Schemas["Pipeline"];
export type Stage = Schemas["Stage"];

export const usePipelines = (query: ListQuery<"/api/pipelines"> = {}) =>
  $api.useQuery(
    "get",
    "/api/pipelines",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { refetchInterval: pollList, ...keepPage },
  );

export const usePipeline = (id: string) =>
  $api.useQuery(
    "get",
    "/api/pipelines/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const pipelineHref = (id: string) => `/pipeline?id=${id}`;
