"use client";

import { Badge } from "@/components/Badge";
import { Card, Stat, Stats } from "@/components/Card";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Tabs } from "@/components/Tabs";
import { PageSkeleton } from "@/features/shell/ById";
import { useTab } from "@/lib/address";
import { bytes, count } from "@/lib/format";
import { Activity } from "./Activity";
import { Members } from "./Members";
import { WorkInIt } from "./ProjectList";
import { ProjectMenu } from "./ProjectMenu";
import { type Project, useProject } from "./queries";

const nothing = { datasets: 0, jobs: 0, models: 0, keys: 0, bytes: 0 };

const parent = { href: "/projects", label: "Projects" };

export function ProjectPage({ id }: { id: string }) {
  const query = useProject(id);
  const [tab, setTab] = useTab("activity");
  if (query.error && !query.data) {
    return (
      <Page title="Project" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  const project = query.data;
  return (
    <Page
      title={project.name}
      parent={parent}
      aside={project.status !== "active" && <Badge>{project.status}</Badge>}
      note={project.description}
      actions={
        <>
          <WorkInIt project={project} />
          <ProjectMenu project={project} />
        </>
      }
    >
      <div className="grid gap-5">
        {project.goal && (
          <Card title="Goal">
            <p className="max-w-prose whitespace-pre-wrap break-words">{project.goal}</p>
          </Card>
        )}
        <Contents project={project} />
        <Tabs
          label="Project"
          value={tab}
          onChange={setTab}
          tabs={[
            { value: "activity", label: "Activity", content: <Activity id={project.id} /> },
            { value: "members", label: "Members", content: <Members project={project} /> },
          ]}
        />
      </div>
    </Page>
  );
}

/** What a project holds; one that holds nothing is told of without. */
function Contents({ project }: { project: Project }) {
  const contents = project.contents ?? nothing;
  return (
    <Card>
      <Stats className="lg:grid-cols-5">
        <Stat label="Datasets" value={count(contents.datasets)} />
        <Stat label="Trainings" value={count(contents.jobs)} />
        <Stat label="Models" value={count(contents.models)} />
        <Stat label="API keys" value={count(contents.keys)} />
        <Stat label="On disk" value={bytes(contents.bytes)} />
      </Stats>
    </Card>
  );
}
