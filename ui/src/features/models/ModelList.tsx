"use client";

import { Boxes, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { Async } from "@/components/Async";
import { Badge } from "@/components/Badge";
import { Button, ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Dialog } from "@/components/Dialog";
import { Empty } from "@/components/Empty";
import { Field, Input } from "@/components/Field";
import { List, Row } from "@/components/List";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { toast } from "@/components/Toasts";
import { $api } from "@/lib/api/client";
import { ago, bytes, shortCount } from "@/lib/format";
import { type Model, modelHref, useModels } from "./queries";

export function ModelList() {
  const models = useModels();
  const [adding, setAdding] = useState(false);
  return (
    <Page
      title="Models"
      actions={
        <Button icon={<Plus aria-hidden className="size-4" />} onClick={() => setAdding(true)}>
          Add a base model
        </Button>
      }
    >
      <div className="grid gap-5">
        <Card title="Yours" note="What your trainings have made." flush>
          <Async
            query={models}
            empty={{
              when: ({ items }) => !items.some(({ kind }) => kind === "tuned"),
              show: (
                <Empty
                  icon={Boxes}
                  title="No model of yours yet"
                  action={<ButtonLink href="/new">Make one</ButtonLink>}
                >
                  A finished training puts its model here.
                </Empty>
              ),
            }}
          >
            {({ items }) => (
              <List label="Your models">
                {items
                  .filter(({ kind }) => kind === "tuned")
                  .map((model) => (
                    <TunedRow key={model.id} model={model} />
                  ))}
              </List>
            )}
          </Async>
        </Card>
        <Card
          title="Base models"
          note="What a training can start from. Those of the Hugging Face Hub are fetched when they are first used."
          flush
        >
          <Async query={models}>
            {({ items }) => (
              <List label="Base models">
                {items
                  .filter(({ kind }) => kind === "base")
                  .map((model) => (
                    <BaseRow key={model.id} model={model} />
                  ))}
              </List>
            )}
          </Async>
        </Card>
      </div>
      <AddModel open={adding} onClose={() => setAdding(false)} />
    </Page>
  );
}

function TunedRow({ model }: { model: Model }) {
  return (
    <Row
      href={modelHref(model.id)}
      title={model.name}
      note={`${model.method ?? "tuned"} of ${model.base_model_id} · ${ago(model.created_at)}`}
    >
      <span className="tabular text-ink-3 text-sm">{bytes(model.size)}</span>
    </Row>
  );
}

function BaseRow({ model }: { model: Model }) {
  return (
    <Row href={modelHref(model.id)} title={model.name} note={model.description}>
      {model.gated && <Badge tone="warn">needs a licence</Badge>}
      {model.source?.startsWith("bundled:") && <Badge tone="good">bundled</Badge>}
      {model.license && <span className="text-ink-3 text-sm">{model.license}</span>}
      <span className="tabular w-14 text-right text-ink-3 text-sm">
        {model.parameters ? shortCount(model.parameters) : ""}
      </span>
    </Row>
  );
}

function AddModel({ open, onClose }: { open: boolean; onClose: () => void }) {
  const add = $api.useMutation("post", "/api/models");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const source = String(form.get("source")).trim();
    add.mutate(
      {
        body: {
          source: /^(hub|path):/.test(source) ? source : source.startsWith("/") ? `path:${source}` : `hub:${source}`,
          revision: String(form.get("revision")) || undefined,
        },
      },
      {
        onSuccess: (model) => {
          toast.good(`${model.name} was added`);
          onClose();
        },
      },
    );
  };
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title="Add a base model"
      description="From the Hugging Face Hub, or a folder of safetensors on this machine."
    >
      <form id="add-model" onSubmit={submit} className="grid gap-4">
        <Field label="Model" hint="owner/name as on the Hub, or an absolute path">
          <Input
            name="source"
            required
            minLength={3}
            placeholder="HuggingFaceTB/SmolLM2-360M-Instruct"
            autoComplete="off"
            spellCheck={false}
          />
        </Field>
        <Field label="Revision" aside="optional" hint="A branch, a tag or a commit">
          <Input name="revision" placeholder="main" autoComplete="off" spellCheck={false} />
        </Field>
        {add.error && <ErrorNotice error={add.error} />}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={add.isPending}>
            Add
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
