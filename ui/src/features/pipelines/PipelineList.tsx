"use client";

import { Plus, Workflow } from "lucide-react";
import { Async } from "@/components/Async";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List } from "@/components/List";
import { Page } from "@/components/Page";
import { PipelineRow } from "./PipelineRow";
import { usePipelines } from "./queries";

export function PipelineList() {
  const pipelines = usePipelines(100);
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
      <Card flush>
        <Async
          query={pipelines}
          empty={{
            when: ({ items }) => items.length === 0,
            show: (
              <Empty
                icon={Workflow}
                title="No pipeline yet"
                action={<ButtonLink href="/new">Start with a file</ButtonLink>}
              >
                Each reads a dataset, proposes a configuration, trains, evaluates and deploys. Whatever dies on the way,
                it goes on.
              </Empty>
            ),
          }}
        >
          {({ items }) => (
            <List label="Pipelines">
              {items.map((pipeline) => (
                <PipelineRow key={pipeline.id} pipeline={pipeline} />
              ))}
            </List>
          )}
        </Async>
      </Card>
    </Page>
  );
}
