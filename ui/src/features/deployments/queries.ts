import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { pollList, pollOne } from "@/lib/poll";

export type Deployment = Schemas["Deployment"];

export const useDeployments = (query: ListQuery<"/api/deployments"> = {}) =>
  $api.useQuery(
    "get",
    "/api/deployments",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { refetchInterval: pollList, ...keepPage },
  );

export const useDeployment = (id: string) =>
  $api.useQuery(
    "get",
    "/api/deployments/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const deploymentHref = (id: string) => `/deployment?id=${id}`;
