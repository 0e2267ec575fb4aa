import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { pollList } from "@/lib/poll";

export type Job = Schemas["Job"];

export const useJobs = (limit = 50) =>
  $api.useQuery(
    "get",
    "/api/training",
    { params: { query: { limit, project_id: useProjectId() } } },
    { refetchInterval: pollList },
  );

/** How much of a job is done, 0 to 1; undefined before its length is known. */
export const progressOf = (job: Pick<Job, "step" | "total_steps">) =>
  job.total_steps > 0 ? job.step / job.total_steps : undefined;

export const jobHref = (id: string) => `/job?id=${id}`;
