"use client";

import { MessagesSquare } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { useModelNames } from "@/features/models/queries";
import { byTime, useListing } from "@/lib/listing";
import { type StatusGroups, statusOf, statusOptions } from "@/lib/statuses";
import { deploymentHref, useDeployments } from "./queries";

const statuses: StatusGroups = {
  live: ["Live", ["serving", "restarting", "queued"]],
  stopped: ["Taken down", ["stopping", "stopped"]],
  failed: ["Failed", ["failed"]],
};

export function DeploymentList() {
  const list = useListing("status", "model");
  const deployments = useDeployments({
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTime),
    status: statusOf(list, statuses),
    model_id: list.get("model"),
  });
  const nameOf = useModelNames();
  return (
    <Page title="Deployments" note="Models that answer, to chat with and to call with any OpenAI SDK.">
      <Listing
        list={list}
        query={deployments}
        search="Search by model"
        orders={byTime}
        filters={<Filter list={list} name="status" label="Status" any="Any status" options={statusOptions(statuses)} />}
        empty={
          <Empty
            icon={MessagesSquare}
            title="Nothing is deployed"
            action={<ButtonLink href="/models">Choose a model</ButtonLink>}
          >
            A deployed model stays up, through restarts of everything, until you take it down.
          </Empty>
        }
      >
        {(items) => (
          <List label="Deployments">
            {items.map(({ id, model_id, device, created_at, status }) => (
              <Row key={id} href={deploymentHref(id)} title={nameOf(model_id)} note={device} at={created_at}>
                <StatusBadge status={status} />
              </Row>
            ))}
          </List>
        )}
      </Listing>
    </Page>
  );
}
