import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { pollList, pollOne } from "@/lib/poll";

export type Pipeline = Schemas["Pipeline"];
export type Stage = Schemas["Stage"];

export const usePipelines = (limit = 50) =>
  $api.useQuery(
    "get",
    "/api/pipelines",
    { params: { query: { limit, project_id: useProjectId() } } },
    { refetchInterval: pollList },
  );

export const usePipeline = (id: string) =>
  $api.useQuery(
    "get",
    "/api/pipelines/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const pipelineHref = (id: string) => `/pipeline?id=${id}`;
