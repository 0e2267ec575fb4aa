"use client";

import { lazy, Suspense } from "react";
import { Card, Stat, Stats } from "@/components/Card";
import { Id } from "@/components/Code";
import { LiveNote } from "@/components/LiveNote";
import { ErrorNotice, Notice, RunErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Progress } from "@/components/Progress";
import { isMoving, StatusBadge } from "@/components/Status";
import { Tabs } from "@/components/Tabs";
import { Said } from "@/features/life/Said";
import { PageSkeleton } from "@/features/shell/ById";
import { useTab } from "@/lib/address";
import { ago, bytes, count, duration, durationRange, measure, share, shortCount } from "@/lib/format";
import { phaseWords } from "@/lib/phases";
import { Checkpoints } from "./Checkpoints";
import { JobActions } from "./JobActions";
import { LossCharts } from "./LossCharts";
import { type Job, progressOf, startsIn } from "./queries";
import { useMonitor } from "./useMonitor";

// What is behind the other tabs is loaded when they are opened.
const Logs = lazy(() => import("./Logs"));
const Setbacks = lazy(() => import("./Setbacks"));
const Configuration = lazy(() => import("./Configuration"));

const parent = { href: "/jobs", label: "Training" };

export function JobPage({ id }: { id: string }) {
  const monitor = useMonitor(id);
  const [tab, setTab] = useTab("overview");
  const job = monitor.job.data;
  if (!job) {
    if (!monitor.job.error) return <PageSkeleton />;
    return (
      <Page title="Training" parent={parent}>
        <ErrorNotice error={monitor.job.error} onRetry={() => monitor.job.refetch()} />
      </Page>
    );
  }
  const progress = progressOf(job);
  return (
    <Page
      title={job.name || "Training"}
      tabTitle={
        job.status === "running" && progress !== undefined ? `${Math.floor(progress * 100)}% ${job.name}` : undefined
      }
      parent={parent}
      aside={<StatusBadge status={job.status} />}
      note={<Id id={job.id} />}
      actions={<JobActions job={job} />}
    >
      <div className="grid gap-5">
        <Said edit={{ kind: "job", id: job.id }} said={job} list="/jobs" />
        <Headline job={job} doing={monitor.doing} live={monitor.live} />
        <Troubles job={job} />
        {job.setbacks && (
          <Suspense>
            <Setbacks setbacks={job.setbacks} />
          </Suspense>
        )}
        <Tabs
          label="Training"
          value={tab}
          onChange={setTab}
          tabs={[
            {
              value: "overview",
              label: "Overview",
              content: (
                <div className="grid gap-5">
                  {monitor.history.error ? (
                    <ErrorNotice
                      error={monitor.history.error}
                      title="The curves could not be read"
                      onRetry={() => monitor.history.refetch()}
                    />
                  ) : (
                    <LossCharts
                      jobId={job.id}
                      curves={monitor.curves}
                      version={monitor.version}
                      marks={monitor.marks}
                    />
                  )}
                  <Checkpoints checkpoints={monitor.checkpoints} />
                </div>
              ),
            },
            { value: "logs", label: "Log", content: <Logs job={job} /> },
            { value: "config", label: "Configuration", content: <Configuration job={job} /> },
          ]}
        />
      </div>
    </Page>
  );
}

function Headline({
  job,
  doing,
  live,
}: {
  job: Job;
  doing: string | undefined;
  live: ReturnType<typeof useMonitor>["live"];
}) {
  const over = !isMoving(job.status) && job.status !== "paused";
  return (
    <Card>
      <div className="mb-4 flex flex-wrap items-center justify-between gap-x-6">
        <div className="tabular min-w-0">
          <p>
            {job.total_steps > 0 ? (
              <>
                <span className="font-semibold text-xl">{share(progressOf(job))}</span>
                <span className="ml-3 text-ink-2">
                  step {count(job.step)} of {count(job.total_steps)}
                </span>
              </>
            ) : (
              <span className="text-ink-2 text-lg">{word(job)}</span>
            )}
          </p>
          {!over && <p className="h-5 truncate text-ink-3 text-sm">{atWork(job, doing)}</p>}
        </div>
        {!over && <LiveNote live={live} />}
      </div>
      <Progress
        value={job.total_steps > 0 ? progressOf(job) : over ? 0 : undefined}
        label="Progress"
        tone={tone(job.status)}
        className="mb-5"
      />
      <Stats className="lg:grid-cols-6">
        {over ? <Stat label="Ended" value={ago(job.completed_at)} /> : <Stat label="Time left" value={timeLeft(job)} />}
        <Stat label="Loss" value={measure(job.loss || undefined)} />
        <Stat
          label="Held-out loss"
          value={measure(job.eval_loss || undefined)}
          note={job.best_eval_loss ? `best ${measure(job.best_eval_loss)}` : undefined}
        />
        <Stat label="Speed" value={job.tokens_per_second ? `${shortCount(job.tokens_per_second)} tok/s` : "–"} />
        <Stat label="Memory" value={job.memory_bytes ? bytes(job.memory_bytes) : "–"} />
        <Stat label={over ? "Took" : "Since its start"} value={elapsed(job)} />
      </Stats>
    </Card>
  );
}

function word(job: Job): string {
  if (job.status === "queued")
    return job.queue_position
      ? `Number ${job.queue_position} in line for ${job.queue}${startsIn(job, ", ")}`
      : "Waiting for a slot";
  return job.status === "running" ? "Getting ready" : "Not begun";
}

/** What a run is at that its steps do not show. */
function atWork(job: Job, doing: string | undefined): string {
  const { phase, done = 0, total = 0 } = job.progress ?? {};
  if (phase && done < total) return `${phaseWords(phase)}: ${count(done)} of ${count(total)}`;
  return job.status === "running" && job.step === 0 ? (doing ?? "") : "";
}

function tone(status: string) {
  if (status === "failed") return "bad";
  if (status === "completed" || status === "stopped") return "good";
  return status === "running" ? "accent" : "idle";
}

/** A range, once there is something to go by; it stands still while the job does. */
function timeLeft(job: Job): string {
  const { status, eta_seconds, eta_low_seconds: low, eta_high_seconds: high } = job;
  if (status !== "running" && status !== "paused") return "–";
  if (low && high) return durationRange(low, high);
  if (eta_seconds) return `about ${duration(eta_seconds)}`;
  return status === "running" ? "estimating …" : "–";
}

function elapsed(job: Job): string {
  if (!job.started_at) return "–";
  const end = job.completed_at ? new Date(job.completed_at).getTime() : Date.now();
  return duration((end - new Date(job.started_at).getTime()) / 1000);
}

function Troubles({ job }: { job: Job }) {
  if (job.status === "paused" && job.error?.message)
    return <RunErrorNotice error={job.error} title="It paused by itself" />;
  if (job.status === "failed") return <RunErrorNotice error={job.error} title="The training failed" />;
  if (job.status === "pausing") return <Notice>It finishes its step, saves and leaves its slot.</Notice>;
  if (job.status === "stopping") return <Notice>It stops, and a model is made from its last checkpoint.</Notice>;
  return null;
}
