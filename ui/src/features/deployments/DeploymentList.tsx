"use client";

import { MessagesSquare } from "lucide-react";
import { Async } from "@/components/Async";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { useModelNames } from "@/features/models/queries";
import { ago } from "@/lib/format";
import { deploymentHref, useDeployments } from "./queries";

export function DeploymentList() {
  const deployments = useDeployments(100);
  const nameOf = useModelNames();
  return (
    <Page title="Deployments" note="Models that answer, to chat with and to call with any OpenAI SDK.">
      <Card flush>
        <Async
          query={deployments}
          empty={{
            when: ({ items }) => items.length === 0,
            show: (
              <Empty
                icon={MessagesSquare}
                title="Nothing is deployed"
                action={<ButtonLink href="/models">Choose a model</ButtonLink>}
              >
                A deployed model stays up, through restarts of everything, until you take it down.
              </Empty>
            ),
          }}
        >
          {({ items }) => (
            <List label="Deployments">
              {items.map((d) => (
                <Row
                  key={d.id}
                  href={deploymentHref(d.id)}
                  title={nameOf(d.model_id)}
                  note={[d.device, ago(d.created_at)].filter(Boolean).join(" · ")}
                >
                  <StatusBadge status={d.status} />
                </Row>
              ))}
            </List>
          )}
        </Async>
      </Card>
    </Page>
  );
}
