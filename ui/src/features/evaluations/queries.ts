import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { pollList, pollOne } from "@/lib/poll";

export type Evaluation = Schemas["Evaluation"];
export type EvaluationResult = Schemas["EvaluationResult"];
export type Sample = Schemas["ComparisonSample"];

export const useEvaluations = (query: ListQuery<"/api/evaluation"> = {}) =>
  $api.useQuery(
    "get",
    "/api/evaluation",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { refetchInterval: pollList, ...keepPage },
  );

export const useEvaluation = (id: string) =>
  $api.useQuery(
    "get",
    "/api/evaluation/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const evaluationHref = (id: string) => `/evaluation?id=${id}`;
