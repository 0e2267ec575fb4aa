"use client";

import { Plus, Workflow } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { List } from "@/components/List";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { byTimeAndName, useListing } from "@/lib/listing";
import { type StatusGroups, statusOf, statusOptions } from "@/lib/statuses";
import { PipelineRow } from "./PipelineRow";
import { usePipelines } from "./queries";

const statuses: StatusGroups = {
  waiting: ["Needs you", ["awaiting_confirmation"]],
  active: ["Active", ["queued", "running", "cancelling"]],
  done: ["Done", ["completed"]],
  failed: ["Failed", ["failed"]],
  stopped: ["Stopped", ["stopped"]],
  cancelled: ["Cancelled", ["cancelled"]],
};

export function PipelineList() {
  const list = useListing("status");
  const pipelines = usePipelines({
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTimeAndName),
    status: statusOf(list, statuses),
  });
  return (
    <Page
      title="Pipelines"
      note="From a file to a model that answers, one durable stage after the other."
      actions={
        <ButtonLink href="/new" variant="primary" icon={<Plus aria-hidden className="size-4" />}>
          New model
        </ButtonLink>
      }
    >
      <Listing
        list={list}
        query={pipelines}
        search="Search by name"
        orders={byTimeAndName}
        filters={<Filter list={list} name="status" label="Status" any="Any status" options={statusOptions(statuses)} />}
        empty={
          <Empty
            icon={Workflow}
            title="No pipeline yet"
            action={<ButtonLink href="/new">Start with a file</ButtonLink>}
          >
            Each reads a dataset, proposes a configuration, trains, evaluates and deploys. Whatever dies on the way, it
            goes on.
          </Empty>
        }
      >
        {(items) => (
          <List label="Pipelines">
            {items.map((pipeline) => (
              <PipelineRow key={pipeline.id} pipeline={pipeline} />
            ))}
          </List>
        )}
      </Listing>
    </Page>
  );
}
