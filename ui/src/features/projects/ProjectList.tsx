"use client";

import { FolderKanban, Plus } from "lucide-react";
import Link from "next/link";
import { useState } from "react";
import { Badge } from "@/components/Badge";
import { Button } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { When } from "@/components/When";
import { pageSize } from "@/lib/api/lists";
import { ago } from "@/lib/format";
import { useListing } from "@/lib/listing";
import { chooseProject, useProjectId } from "./current";
import { ProjectDialog, ProjectMenu } from "./ProjectMenu";
import { type Project, projectHref, useProjects } from "./queries";

const statuses = [
  ["archived", "Archived"],
  ["deleted", "Deleted"],
] as const;

export function ProjectList() {
  const list = useListing("status");
  const [making, setMaking] = useState(false);
  const projects = useProjects({
    limit: pageSize,
    q: list.q,
    cursor: list.cursor,
    status: list.oneOf("status", ["archived", "deleted"]),
  });
  return (
    <Page
      title="Projects"
      note="Each holds its own datasets, trainings, models and keys."
      actions={
        <Button variant="primary" icon={<Plus aria-hidden className="size-4" />} onClick={() => setMaking(true)}>
          New project
        </Button>
      }
    >
      <Listing
        list={list}
        query={projects}
        search="Search by name or goal"
        filters={<Filter list={list} name="status" label="Status" any="In use" options={statuses} />}
        empty={
          <Empty icon={FolderKanban} title="No project yet">
            Make one to keep things apart.
          </Empty>
        }
      >
        {(items) => (
          <ul aria-label="Projects" className="divide-y divide-line">
            {items.map((project) => (
              <ProjectItem key={project.id} project={project} />
            ))}
          </ul>
        )}
      </Listing>
      {making && <ProjectDialog project={undefined} onClose={() => setMaking(false)} />}
    </Page>
  );
}

function ProjectItem({ project }: { project: Project }) {
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-3 sm:px-5">
      <div className="min-w-0 flex-1 basis-40">
        <Link
          href={projectHref(project.id)}
          prefetch={false}
          className="block truncate font-medium hover:text-accent-ink"
        >
          {project.name}
        </Link>
        <p className="truncate text-ink-3 text-sm">
          {project.description || project.goal || (
            <>
              made <When at={project.created_at} />
            </>
          )}
        </p>
      </div>
      {project.status === "archived" && <Badge>archived</Badge>}
      {project.status === "deleted" && (
        <span className="text-ink-3 text-sm">goes for good {ago(project.purge_at)}</span>
      )}
      <div className="flex items-center gap-2">
        <WorkInIt project={project} />
        <ProjectMenu project={project} />
      </div>
    </li>
  );
}

/** Narrows the app to a project, or says that it is. */
export function WorkInIt({ project }: { project: Project }) {
  const chosen = useProjectId() === project.id;
  if (chosen && project.status !== "deleted") return <Badge tone="accent">chosen</Badge>;
  if (project.status !== "active") return null;
  return (
    <Button size="sm" onClick={() => chooseProject(project.id)}>
      Work in it
    </Button>
  );
}
