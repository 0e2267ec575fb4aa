import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { pollList, pollOne } from "@/lib/poll";

export type Deployment = Schemas["Deployment"];

export const useDeployments = (limit = 50) =>
  $api.useQuery(
    "get",
    "/api/deployments",
    { params: { query: { limit, project_id: useProjectId() } } },
    { refetchInterval: pollList },
  );

export const useDeployment = (id: string) =>
  $api.useQuery(
    "get",
    "/api/deployments/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const deploymentHref = (id: string) => `/deployment?id=${id}`;
