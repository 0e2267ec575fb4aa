import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { pollList, pollOne } from "@/lib/poll";

export type Evaluation = Schemas["Evaluation"];
export type EvaluationResult = Schemas["EvaluationResult"];
export type Sample = Schemas["ComparisonSample"];

export const useEvaluations = (limit = 100) =>
  $api.useQuery(
    "get",
    "/api/evaluation",
    { params: { query: { limit, project_id: useProjectId() } } },
    { refetchInterval: pollList },
  );

export const useEvaluation = (id: string) =>
  $api.useQuery(
    "get",
    "/api/evaluation/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const evaluationHref = (id: string) => `/evaluation?id=${id}`;
