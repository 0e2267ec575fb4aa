"use client";

import { ChartNoAxesColumn, Plus } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { Async } from "@/components/Async";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List } from "@/components/List";
import { Page } from "@/components/Page";
import { Segmented } from "@/components/Segmented";
import { isMoving } from "@/components/Status";
import { JobRow } from "./JobRow";
import { type Job, useJobs } from "./queries";

type Filter = "all" | "active" | "done" | "failed";

const matches: Record<Filter, (job: Job) => boolean> = {
  all: () => true,
  active: ({ status }) => isMoving(status) || status === "paused",
  done: ({ status }) => status === "completed" || status === "stopped",
  failed: ({ status }) => status === "failed" || status === "cancelled",
};

export function JobList() {
  const router = useRouter();
  const asked = useSearchParams().get("show") as Filter | null;
  const filter = asked && asked in matches ? asked : "all";
  const jobs = useJobs(200);
  return (
    <Page
      title="Training"
      actions={
        <>
          <Segmented
            label="Show"
            value={filter}
            onChange={(next) => router.replace(next === "all" ? "/jobs" : `/jobs?show=${next}`, { scroll: false })}
            options={[
              { value: "all", label: "All" },
              { value: "active", label: "Active" },
              { value: "done", label: "Done" },
              { value: "failed", label: "Failed" },
            ]}
          />
          <ButtonLink href="/train" variant="primary" icon={<Plus aria-hidden className="size-4" />}>
            New training
          </ButtonLink>
        </>
      }
    >
      <Card flush>
        <Async
          query={jobs}
          empty={{
            when: ({ items }) => !items.some(matches[filter]),
            show: (
              <Empty
                icon={ChartNoAxesColumn}
                title={filter === "all" ? "No training yet" : "None of these"}
                action={<ButtonLink href="/train">Configure one</ButtonLink>}
              >
                A training can be paused, moved and killed; it ends with the result it would have had.
              </Empty>
            ),
          }}
        >
          {({ items }) => (
            <List label="Training jobs">
              {items.filter(matches[filter]).map((job) => (
                <JobRow key={job.id} job={job} />
              ))}
            </List>
          )}
        </Async>
      </Card>
    </Page>
  );
}
