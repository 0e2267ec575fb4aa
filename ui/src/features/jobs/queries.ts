import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { duration, durationRange } from "@/lib/format";
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

/** When a job in line should begin, after the given words; nothing is said where nobody knows. */
export function startsIn(job: Pick<Job, "expected_start">, words: string, now = Date.now()): string {
  if (!job.expected_start) return "";
  const [low, high] = [job.expected_start.earliest, job.expected_start.latest].map(
    (at) => (Date.parse(at) - now) / 1000,
  );
  if (high! < 60) return `${words}starts at any moment`;
  return `${words}starts in ${low! < 60 ? `at most ${duration(high!)}` : durationRange(low!, high!)}`;
}
