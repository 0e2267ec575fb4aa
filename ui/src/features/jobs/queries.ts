import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { pollList } from "@/lib/poll";

export type Job = Schemas["Job"];
export type Comparison = Schemas["JobComparison"];
export type Run = Schemas["ComparedJob"];

export const useJobs = (query: ListQuery<"/api/training"> = {}) =>
  $api.useQuery(
    "get",
    "/api/training",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { refetchInterval: pollList, ...keepPage },
  );

/** How much of a job is done, 0 to 1; undefined before its length is known. */
export const progressOf = (job: Pick<Job, "step" | "total_steps">) =>
  job.total_steps > 0 ? job.step / job.total_steps : undefined;

export const jobHref = (id: string) => `/job?id=${id}`;
