"use client";

import { useQueryClient } from "@tanstack/react-query";
import { Ban, RotateCcw } from "lucide-react";
import { lazy, type ReactNode, Suspense, useState } from "react";
import { Button, ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Id } from "@/components/Code";
import { Confirm } from "@/components/Dialog";
import { LiveNote } from "@/components/LiveNote";
import { ErrorNotice, Notice, RunErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Progress } from "@/components/Progress";
import { Skeleton } from "@/components/Skeleton";
import { isMoving, StatusBadge } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { datasetHref, useDataset } from "@/features/datasets/queries";
import { Reading } from "@/features/datasets/Reading";
import { deploymentHref, useDeployment } from "@/features/deployments/queries";
import { Interval } from "@/features/evaluations/Interval";
import { evaluationHref, useEvaluation } from "@/features/evaluations/queries";
import { Verdict } from "@/features/evaluations/Verdict";
import { JobActions } from "@/features/jobs/JobActions";
import { jobHref, progressOf } from "@/features/jobs/queries";
import { DeleteButton } from "@/features/life/Delete";
import { deletePipeline } from "@/features/life/deletions";
import { modelHref } from "@/features/models/queries";
import { PageSkeleton } from "@/features/shell/ById";
import { $api } from "@/lib/api/client";
import { count, duration, measure, moment, plural } from "@/lib/format";
import { serverSentEvents } from "@/lib/live/sse";
import { useLive } from "@/lib/live/useLive";
import { pollOne } from "@/lib/poll";
import { type Pipeline, usePipeline } from "./queries";
import { StageLine } from "./StageLine";
import { type StageName, shownStages, stageTitles } from "./stages";

// The form of a configuration is loaded when one is looked at.
const Proposal = lazy(() => import("./Proposal").then(({ Proposal }) => ({ default: Proposal })));

const parent = { href: "/pipelines", label: "Pipelines" };

export function PipelinePage({ id }: { id: string }) {
  const query = usePipeline(id);
  const client = useQueryClient();
  const open =
    query.data !== undefined && (isMoving(query.data.status) || query.data.status === "awaiting_confirmation");
  const live = useLive({
    path: open ? `/api/pipelines/${id}` : undefined,
    after: query.data?.last_seq ?? 0,
    transport: serverSentEvents,
    onEvents: () => client.invalidateQueries(),
  });
  if (query.error && !query.data) {
    return (
      <Page title="Pipeline" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  return <Loaded pipeline={query.data} live={open ? <LiveNote live={live} /> : null} />;
}

function Loaded({ pipeline, live }: { pipeline: Pipeline; live: ReactNode }) {
  const [chosen, setChosen] = useState<string>();
  const stages = shownStages(pipeline);
  const reached = stages.filter(({ stage }) => stage !== undefined);
  const current =
    pipeline.status === "awaiting_confirmation"
      ? "confirm"
      : (reached.findLast(({ status }) => status !== "completed") ?? reached.at(-1))?.name;
  const done = pipeline.status === "completed" && chosen === undefined;
  const selected = (chosen ?? current ?? "analyze") as StageName;
  return (
    <Page
      title={pipeline.name || "Pipeline"}
      parent={parent}
      aside={<StatusBadge status={pipeline.status} />}
      note={
        <span className="flex flex-wrap items-center gap-x-3 text-ink-3 text-sm">
          <span>{moment(pipeline.created_at)}</span>
          <Id id={pipeline.id} />
        </span>
      }
      actions={<Actions pipeline={pipeline} live={live} />}
    >
      <div className="grid gap-5">
        <Card flush className="overflow-hidden">
          <div className="px-1 pb-2">
            <StageLine pipeline={pipeline} selected={done ? undefined : selected} onSelect={setChosen} />
          </div>
        </Card>
        {waits(pipeline) && <Waiting pipeline={pipeline} />}
        {done ? <Results pipeline={pipeline} /> : <StagePanel name={selected} pipeline={pipeline} />}
      </div>
    </Page>
  );
}

function Actions({ pipeline, live }: { pipeline: Pipeline; live: ReactNode }) {
  const [asking, setAsking] = useState(false);
  const cancel = $api.useMutation("post", "/api/pipelines/{id}/cancel");
  const open = ["queued", "running", "awaiting_confirmation"].includes(pipeline.status) || waits(pipeline);
  return (
    <>
      {live}
      {open && (
        <Button icon={<Ban aria-hidden className="size-4" />} onClick={() => setAsking(true)}>
          {waits(pipeline) ? "Give up" : "Cancel"}
        </Button>
      )}
      {["completed", "cancelled"].includes(pipeline.status) && (
        <DeleteButton name={pipeline.name || "this pipeline"} remove={deletePipeline(pipeline.id)} back="/pipelines" />
      )}
      {pipeline.status === "completed" && pipeline.deployment_id && (
        <ButtonLink href={deploymentHref(pipeline.deployment_id)} variant="primary">
          Talk to it
        </ButtonLink>
      )}
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title={`${waits(pipeline) ? "Give up" : "Cancel"} ${pipeline.name || "this pipeline"}?`}
        action={waits(pipeline) ? "Give it up" : "Cancel it"}
        cancel={waits(pipeline) ? "Keep it waiting" : "Let it go on"}
        danger
        busy={cancel.isPending}
        onConfirm={() =>
          cancel.mutate(
            { params: { path: { id: pipeline.id } } },
            { onSuccess: () => setAsking(false), onError: (e) => toast.bad("It was not cancelled", e) },
          )
        }
      >
        {waits(pipeline)
          ? "It waits for another try, and ends without one. The dataset, and stages that are done, stay."
          : "What it is doing ends, and a training that is under way is lost. The dataset, and stages that are done, stay."}
      </Confirm>
    </>
  );
}

/** A stage failed, or its user cancelled what it ran: nothing happens until somebody says how to go on. */
const waits = ({ status }: Pipeline) => status === "failed" || status === "stopped";

function Waiting({ pipeline }: { pipeline: Pipeline }) {
  const retry = $api.useMutation("post", "/api/pipelines/{id}/retry");
  const last = pipeline.stages.findLast(({ status }) => status === "failed" || status === "cancelled");
  const stage = last ? stageTitles[last.stage as StageName].toLowerCase() : "last";
  const again = (
    <Button
      size="sm"
      icon={<RotateCcw aria-hidden className="size-4" />}
      busy={retry.isPending}
      onClick={() =>
        retry.mutate(
          { params: { path: { id: pipeline.id } } },
          { onError: (e) => toast.bad("It was not tried again", e) },
        )
      }
    >
      Try that stage again
    </Button>
  );
  if (pipeline.status === "stopped") {
    return (
      <Notice title={`The ${stage} stage was cancelled`} actions={again}>
        What came before it is kept. Try it again, or give it up.
      </Notice>
    );
  }
  return <RunErrorNotice error={pipeline.error ?? last?.error} title={`The ${stage} stage failed`} actions={again} />;
}

/** What a pipeline has come to: is it better, and where does it answer? */
function Results({ pipeline }: { pipeline: Pipeline }) {
  const { job_id, evaluation_id, deployment_id } = pipeline;
  return (
    <>
      {evaluation_id && <Evaluate id={evaluation_id} />}
      {deployment_id && <Deploy id={deployment_id} />}
      {!evaluation_id && !deployment_id && <Train id={job_id ?? ""} />}
    </>
  );
}

function StagePanel({ name, pipeline }: { name: StageName; pipeline: Pipeline }) {
  switch (name) {
    case "analyze":
      return <Analyze id={pipeline.dataset_id ?? ""} />;
    case "recommend":
    case "confirm":
      return (
        <Suspense fallback={<Skeleton className="h-96" />}>
          <Proposal pipeline={pipeline} />
        </Suspense>
      );
    case "train":
      return <Train id={pipeline.job_id ?? ""} />;
    case "evaluate":
      return <Evaluate id={pipeline.evaluation_id ?? ""} />;
    case "deploy":
      return <Deploy id={pipeline.deployment_id ?? ""} />;
  }
}

/** Stands for what a stage works on and is not there: not made yet, still being asked for, or deleted. */
function Missing({ title, id, error }: { title: string; id: string; error: unknown }) {
  return (
    <Card title={title}>
      {id === "" ? "It has not begun." : error ? <ErrorNotice error={error} /> : <Skeleton className="h-12" />}
    </Card>
  );
}

function Analyze({ id }: { id: string }) {
  const { data: dataset, error } = useDataset(id);
  if (!dataset) return <Missing title="Your data" id={id} error={error} />;
  return (
    <Card
      title="Your data"
      actions={
        <ButtonLink href={datasetHref(id)} size="sm">
          Look at it
        </ButtonLink>
      }
    >
      {isMoving(dataset.status) ? (
        <Reading dataset={dataset} />
      ) : dataset.status !== "ready" ? (
        <p className="text-ink-2">
          <strong className="text-ink">{dataset.name}</strong> could not be read. Its page says why.
        </p>
      ) : (
        <p className="text-ink-2">
          <strong className="text-ink">{dataset.name}</strong> has {plural(dataset.rows ?? 0, "row")}:{" "}
          {count(dataset.train_rows)} to train on, {count(dataset.eval_rows)} held out.
        </p>
      )}
    </Card>
  );
}

function Train({ id }: { id: string }) {
  const { data: job, error } = $api.useQuery(
    "get",
    "/api/training/{id}",
    { params: { path: { id } } },
    { enabled: id !== "", refetchInterval: pollOne },
  );
  if (!job) return <Missing title="Training" id={id} error={error} />;
  return (
    <Card
      title="Training"
      actions={
        <>
          <JobActions job={job} />
          <ButtonLink href={jobHref(id)}>Watch it</ButtonLink>
        </>
      }
    >
      <div className="mb-3 flex flex-wrap items-center justify-between gap-3">
        <StatusBadge status={job.status} />
        <span className="tabular text-ink-2">
          {job.total_steps > 0
            ? `step ${count(job.step)} of ${count(job.total_steps)}`
            : job.status === "queued"
              ? "waiting for a slot"
              : "getting ready"}
          {job.loss ? ` · loss ${measure(job.loss)}` : ""}
          {job.status === "running" && job.eta_seconds ? ` · about ${duration(job.eta_seconds)} left` : ""}
        </span>
      </div>
      <Progress
        value={job.total_steps > 0 ? progressOf(job) : undefined}
        label="Progress of the training"
        tone={isMoving(job.status) ? "accent" : "idle"}
      />
    </Card>
  );
}

function Evaluate({ id }: { id: string }) {
  const { data: evaluation, error } = useEvaluation(id);
  if (!evaluation) return <Missing title="Tuned beside base" id={id} error={error} />;
  const { done = 0, total = 0 } = evaluation.progress ?? {};
  return (
    <Card
      title="Tuned beside base"
      actions={
        <ButtonLink href={evaluationHref(id)} size="sm">
          Read the answers
        </ButtonLink>
      }
    >
      {evaluation.status === "completed" && evaluation.result ? (
        <div className="grid gap-4">
          <div>
            <Verdict verdict={evaluation.result.verdict} />
          </div>
          <p className="text-ink-2">{evaluation.result.verdict_text}</p>
          <Interval result={evaluation.result} />
        </div>
      ) : isMoving(evaluation.status) ? (
        <Progress value={total > 0 ? done / total : undefined} label="Evaluation" />
      ) : (
        <StatusBadge status={evaluation.status} />
      )}
    </Card>
  );
}

/** Where a deployment stands, in words; one that is none of these is being loaded. */
const standing: Partial<Record<string, string>> = {
  serving: "It answers at /v1, under the name of the model.",
  restarting: "Its engine is being started again. It answers in a moment.",
  stopping: "It is being taken down.",
  stopped: "It was taken down, and answers no more.",
  failed: "The model cannot be served. Its page says why.",
};

function Deploy({ id }: { id: string }) {
  const { data: deployment, error } = useDeployment(id);
  if (!deployment) return <Missing title="Deployment" id={id} error={error} />;
  return (
    <Card
      title="Deployment"
      actions={
        <>
          <ButtonLink href={modelHref(deployment.model_id)} size="sm">
            The model
          </ButtonLink>
          {deployment.status === "serving" ? (
            <ButtonLink href={deploymentHref(id)} size="sm" variant="primary">
              Talk to it
            </ButtonLink>
          ) : (
            <ButtonLink href={deploymentHref(id)} size="sm">
              Look at it
            </ButtonLink>
          )}
        </>
      }
    >
      <p className="flex flex-wrap items-center gap-3">
        <StatusBadge status={deployment.status} />
        <span className="text-ink-2">{standing[deployment.status] ?? "The model is being loaded."}</span>
      </p>
    </Card>
  );
}
