import { Row } from "@/components/List";
import { Progress } from "@/components/Progress";
import { isMoving, StatusBadge } from "@/components/Status";
import { duration, measure } from "@/lib/format";
import { type Job, jobHref, progressOf, startsIn } from "./queries";

export function JobRow({ job, note = job.model_id }: { job: Job; note?: string }) {
  const unfinished = isMoving(job.status) || job.status === "paused";
  return (
    <Row href={jobHref(job.id)} title={job.name || job.id} note={note} at={job.created_at}>
      {unfinished && job.total_steps > 0 && (
        <span className="flex items-center gap-3">
          <span className="w-24 shrink-0">
            <Progress
              value={progressOf(job)}
              label={`Progress of ${job.name}`}
              tone={job.status === "paused" ? "idle" : "accent"}
            />
          </span>
          <span className="tabular whitespace-nowrap text-ink-3 text-sm">
            {job.step}/{job.total_steps}
            {job.status === "running" && job.eta_seconds ? ` · ${duration(job.eta_seconds)} left` : ""}
          </span>
        </span>
      )}
      {job.status === "queued" && job.queue_position ? (
        <span className="tabular text-ink-3 text-sm">
          no. {job.queue_position} in line{startsIn(job, " · ")}
        </span>
      ) : null}
      {!unfinished && job.loss ? <span className="tabular text-ink-3 text-sm">loss {measure(job.loss)}</span> : null}
      <StatusBadge status={job.status} />
    </Row>
  );
}
