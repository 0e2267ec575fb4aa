"use client";

import { Boxes, FileUp, Plus } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Skeleton, SkeletonRows } from "@/components/Skeleton";
import { isMoving, StatusBadge } from "@/components/Status";
import { type Deployment, useDeployments } from "@/features/deployments/queries";
import { JobRow } from "@/features/jobs/JobRow";
import { useJobs } from "@/features/jobs/queries";
import { modelHref, useModelNames, useModels } from "@/features/models/queries";
import { PipelineRow } from "@/features/pipelines/PipelineRow";
import { usePipelines } from "@/features/pipelines/queries";
import { Machines } from "@/features/settings/Machines";
import { useSystem } from "@/features/settings/queries";
import { bytes } from "@/lib/format";

const recent = 5;

export function Dashboard() {
  const pipelines = usePipelines();
  const jobs = useJobs();
  const fresh = pipelines.data?.items.length === 0 && jobs.data?.items.length === 0;
  return (
    <Page
      title="Dashboard"
      note="Everything here goes on when you close this page, and picks up where it was after a crash or a restart."
      actions={
        <ButtonLink href="/new" variant="primary" icon={<Plus aria-hidden className="size-4" />}>
          New model
        </ButtonLink>
      }
    >
      <div className="grid gap-5 lg:grid-cols-[1fr_20rem]">
        <div className="grid min-w-0 content-start gap-5">
          {fresh ? <FirstSteps /> : <Active pipelines={pipelines} jobs={jobs} />}
          <RecentModels />
        </div>
        <div className="grid min-w-0 content-start gap-5">
          <MachineCard />
          <Deployed />
        </div>
      </div>
    </Page>
  );
}

function FirstSteps() {
  return (
    <Card>
      <Empty
        icon={FileUp}
        title="Make your first model"
        action={
          <>
            <ButtonLink href="/new" variant="primary">
              Start with a file
            </ButtonLink>
            <ButtonLink href="/new?sample=1">Try it with the sample data</ButtonLink>
          </>
        }
      >
        Bring questions and answers, conversations or text. VibeFlow checks them, chooses a configuration, trains,
        compares the result with the base model, and serves it.
      </Empty>
    </Card>
  );
}

function Active({ pipelines, jobs }: { pipelines: ReturnType<typeof usePipelines>; jobs: ReturnType<typeof useJobs> }) {
  const error = pipelines.error ?? jobs.error;
  if (error && !jobs.data && !pipelines.data) {
    return (
      <ErrorNotice
        error={error}
        onRetry={() => {
          void pipelines.refetch();
          void jobs.refetch();
        }}
      />
    );
  }
  if (!pipelines.data || !jobs.data) {
    return (
      <Card title="In progress" flush>
        <SkeletonRows rows={3} />
      </Card>
    );
  }
  const open = pipelines.data.items.filter(({ status }) => isMoving(status) || status === "awaiting_confirmation");
  const running = jobs.data.items.filter(({ status }) => isMoving(status) || status === "paused");
  if (open.length + running.length > 0) {
    return (
      <Card title="In progress" flush>
        <List label="In progress">
          {open.map((pipeline) => (
            <PipelineRow key={pipeline.id} pipeline={pipeline} note="Pipeline" />
          ))}
          {running.map((job) => (
            <JobRow key={job.id} job={job} note={`Training of ${job.model_id}`} />
          ))}
        </List>
      </Card>
    );
  }
  return (
    <Card
      title="Recent"
      flush
      actions={
        <ButtonLink href="/pipelines" size="sm" variant="quiet">
          All pipelines
        </ButtonLink>
      }
    >
      <List label="Recent">
        {pipelines.data.items.slice(0, recent).map((pipeline) => (
          <PipelineRow key={pipeline.id} pipeline={pipeline} note="Pipeline" />
        ))}
        {jobs.data.items
          .filter(({ pipeline_id }) => !pipeline_id)
          .slice(0, recent)
          .map((job) => (
            <JobRow key={job.id} job={job} note={`Training of ${job.model_id}`} />
          ))}
      </List>
    </Card>
  );
}

function RecentModels() {
  const models = useModels({ kind: "tuned", limit: recent });
  return (
    <Card
      title="Your models"
      flush
      actions={
        <ButtonLink href="/models" size="sm" variant="quiet">
          All models
        </ButtonLink>
      }
    >
      {models.error && !models.data ? (
        <div className="p-4">
          <ErrorNotice error={models.error} onRetry={() => models.refetch()} />
        </div>
      ) : !models.data ? (
        <SkeletonRows rows={2} />
      ) : models.data.items.length === 0 ? (
        <Empty icon={Boxes} title="No model of yours yet">
          What a training makes is listed here, ready to compare, deploy and take away.
        </Empty>
      ) : (
        <List label="Your models">
          {models.data.items.map((model) => (
            <Row
              key={model.id}
              href={modelHref(model.id)}
              title={model.name}
              note={`from ${model.base_model_id}`}
              at={model.created_at}
            >
              <span className="tabular text-ink-3 text-sm">{bytes(model.size)}</span>
            </Row>
          ))}
        </List>
      )}
    </Card>
  );
}

function MachineCard() {
  const system = useSystem();
  return (
    <Card
      title="Machine"
      actions={
        <ButtonLink href="/settings?tab=machine" size="sm" variant="quiet">
          What takes room
        </ButtonLink>
      }
    >
      {system.error && !system.data ? (
        <ErrorNotice error={system.error} onRetry={() => system.refetch()} />
      ) : system.data ? (
        <Machines system={system.data} />
      ) : (
        <Skeleton className="h-40" />
      )}
    </Card>
  );
}

function Deployed() {
  const deployments = useDeployments({ status: ["serving", "queued", "restarting"] });
  const live = deployments.data?.items ?? [];
  return (
    <Card title="Deployed" flush>
      {deployments.error && !deployments.data ? (
        <div className="p-4">
          <ErrorNotice error={deployments.error} onRetry={() => deployments.refetch()} />
        </div>
      ) : !deployments.data ? (
        <SkeletonRows rows={1} />
      ) : live.length === 0 ? (
        <p className="px-4 pb-4 text-ink-3 sm:px-5">
          Nothing is being served. A model of yours can be deployed from its own page.
        </p>
      ) : (
        <Served deployments={live} />
      )}
    </Card>
  );
}

function Served({ deployments }: { deployments: Deployment[] }) {
  // Most are of the newest models, whose names are asked for anyway: all names are many more.
  const newest = useModels({ kind: "tuned", limit: recent });
  const named = (id: string) => newest.data?.items.find((model) => model.id === id)?.name;
  const nameOf = useModelNames(!newest.isPending && !deployments.every(({ model_id }) => named(model_id)));
  if (newest.isPending) return <SkeletonRows rows={deployments.length} />;
  return (
    <List label="Deployed">
      {deployments.map((d) => (
        <Row key={d.id} href={`/deployment?id=${d.id}`} title={named(d.model_id) ?? nameOf(d.model_id)}>
          <StatusBadge status={d.status} />
        </Row>
      ))}
    </List>
  );
}
