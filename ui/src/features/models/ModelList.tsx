"use client";

import { Boxes, Plus } from "lucide-react";
import { useState } from "react";
import { Badge } from "@/components/Badge";
import { Button, ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { Segmented } from "@/components/Segmented";
import { TagFilter } from "@/features/life/TagFilter";
import { bytes, shortCount } from "@/lib/format";
import { byTimeAndName, useListing } from "@/lib/listing";
import { AddModel } from "./AddModel";
import { BaseModelFilter } from "./BaseModelFilter";
import { isBundled, type Model, methodOf, modelHref, useModels } from "./queries";

const kinds = ["tuned", "base"] as const;

export function ModelList() {
  const list = useListing("model", "tag");
  const kind = list.oneOf("kind", kinds) ?? "tuned";
  const models = useModels({
    kind,
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTimeAndName),
    base_model_id: list.get("model"),
    tag: list.all("tag"),
  });
  const [adding, setAdding] = useState(false);
  return (
    <Page
      title="Models"
      note={
        kind === "tuned"
          ? "What your trainings have made."
          : "What a training can start from. Those of the Hugging Face Hub are fetched when they are first used."
      }
      actions={
        <>
          <Segmented
            label="Kind"
            value={kind}
            onChange={(next) => list.set({ kind: next === "tuned" ? undefined : next, model: undefined })}
            options={[
              { value: "tuned", label: "Yours" },
              { value: "base", label: "Base models" },
            ]}
          />
          <Button icon={<Plus aria-hidden className="size-4" />} onClick={() => setAdding(true)}>
            Add a base model
          </Button>
        </>
      }
    >
      <Listing
        list={list}
        query={models}
        search="Search by name"
        orders={byTimeAndName}
        filters={
          <>
            {kind === "tuned" && <BaseModelFilter list={list} />}
            <TagFilter list={list} />
          </>
        }
        empty={
          <Empty
            icon={Boxes}
            title={kind === "tuned" ? "No model of yours yet" : "No base model"}
            action={kind === "tuned" && <ButtonLink href="/new">Make one</ButtonLink>}
          >
            {kind === "tuned" ? "A finished training puts its model here." : "Add one from the Hub, or from a folder."}
          </Empty>
        }
      >
        {(items) => (
          <List label={kind === "tuned" ? "Your models" : "Base models"}>
            {items.map((model) =>
              model.kind === "tuned" ? (
                <TunedRow key={model.id} model={model} />
              ) : (
                <BaseRow key={model.id} model={model} />
              ),
            )}
          </List>
        )}
      </Listing>
      {adding && <AddModel onClose={() => setAdding(false)} />}
    </Page>
  );
}

function TunedRow({ model }: { model: Model }) {
  return (
    <Row
      href={modelHref(model.id)}
      title={model.name}
      note={`${methodOf(model)} of ${model.base_model_id}`}
      at={model.created_at}
    >
      <span className="tabular text-ink-3 text-sm">{bytes(model.size)}</span>
    </Row>
  );
}

function BaseRow({ model }: { model: Model }) {
  return (
    <Row href={modelHref(model.id)} title={model.name} note={model.description}>
      {model.gated && <Badge tone="warn">needs a licence</Badge>}
      {isBundled(model) && <Badge tone="good">bundled</Badge>}
      {model.license && <span className="text-ink-3 text-sm">{model.license}</span>}
      <span className="tabular text-ink-3 text-sm sm:w-14 sm:text-right">
        {model.parameters ? shortCount(model.parameters) : ""}
      </span>
    </Row>
  );
}
