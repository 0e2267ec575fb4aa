"use client";

import { ChartNoAxesColumn, GitCompareArrows, Plus } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { List } from "@/components/List";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { DatasetFilter } from "@/features/datasets/DatasetFilter";
import { TagFilter } from "@/features/life/TagFilter";
import { BaseModelFilter } from "@/features/models/BaseModelFilter";
import { byTimeAndName, useListing } from "@/lib/listing";
import { type StatusGroups, statusOf, statusOptions } from "@/lib/statuses";
import { JobRow } from "./JobRow";
import { useJobs } from "./queries";

const statuses: StatusGroups = {
  active: ["Active", ["queued", "running", "pausing", "paused", "resuming", "cancelling", "stopping"]],
  done: ["Done", ["completed", "stopped"]],
  failed: ["Failed", ["failed"]],
  cancelled: ["Cancelled", ["cancelled"]],
};

export function JobList() {
  const list = useListing("status", "dataset", "model", "tag");
  const jobs = useJobs({
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTimeAndName),
    status: statusOf(list, statuses),
    dataset_id: list.get("dataset"),
    model_id: list.get("model"),
    tag: list.all("tag"),
  });
  return (
    <Page
      title="Training"
      actions={
        <>
          <ButtonLink href="/compare" icon={<GitCompareArrows aria-hidden className="size-4" />}>
            Compare
          </ButtonLink>
          <ButtonLink href="/train" variant="primary" icon={<Plus aria-hidden className="size-4" />}>
            New training
          </ButtonLink>
        </>
      }
    >
      <Listing
        list={list}
        query={jobs}
        search="Search by name"
        orders={byTimeAndName}
        filters={
          <>
            <Filter list={list} name="status" label="Status" any="Any status" options={statusOptions(statuses)} />
            <DatasetFilter list={list} />
            <BaseModelFilter list={list} />
            <TagFilter list={list} />
          </>
        }
        empty={
          <Empty
            icon={ChartNoAxesColumn}
            title="No training yet"
            action={<ButtonLink href="/train">Configure one</ButtonLink>}
          >
            A training can be paused, moved and killed; it ends with the result it would have had.
          </Empty>
        }
      >
        {(items) => (
          <List label="Training jobs">
            {items.map((job) => (
              <JobRow key={job.id} job={job} />
            ))}
          </List>
        )}
      </Listing>
    </Page>
  );
}
