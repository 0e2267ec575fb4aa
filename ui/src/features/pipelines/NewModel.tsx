"use client";

import { ArrowRight, FileText, X } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Button, ButtonLink, IconButton } from "@/components/Button";
import { Card } from "@/components/Card";
import { Checkbox, Field, Input, Select, Textarea } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { isMoving, StatusBadge } from "@/components/Status";
import { type Dataset, datasetHref, useDataset, useDatasets } from "@/features/datasets/queries";
import { nobodyKnows, Unusable } from "@/features/datasets/Unusable";
import { Upload } from "@/features/datasets/Upload";
import { BaseModelSelect } from "@/features/models/BaseModelSelect";
import { currentProject } from "@/features/projects/current";
import { $api } from "@/lib/api/client";
import { many } from "@/lib/api/lists";
import { plural } from "@/lib/format";
import { pipelineHref } from "./queries";

/** The short way: a file, a base, and go. */
export function NewModel() {
  const router = useRouter();
  const params = useSearchParams();
  const [datasetId, setDatasetId] = useState(params.get("dataset") ?? "");
  const [modelId, setModelId] = useState(params.get("model") ?? "");
  const start = $api.useMutation("post", "/api/pipelines");
  const status = useDataset(datasetId).data?.status;
  const missing = !datasetId
    ? "Choose the data first."
    : unusable(status)
      ? "This data cannot be used yet."
      : undefined;

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim() || undefined;
    start.mutate(
      {
        body: {
          dataset_id: datasetId,
          model_id: modelId || undefined,
          name: text("name"),
          goal: text("goal"),
          auto_confirm: form.get("ask") !== "on",
          skip_evaluate: form.get("evaluate") !== "on",
          skip_deploy: form.get("deploy") !== "on",
        },
      },
      { onSuccess: ({ id }) => router.push(pipelineHref(id)) },
    );
  };
  return (
    <Page
      title="New model"
      note="Bring data; the rest has sensible answers already. Nothing is lost if you close this page or the machine goes down."
    >
      <div className="grid max-w-3xl gap-5">
        <Card title="1. What should it learn from?">
          {datasetId ? (
            <Chosen id={datasetId} onRemove={() => setDatasetId("")} />
          ) : (
            <ChooseData onChoose={setDatasetId} sample={params.has("sample")} />
          )}
        </Card>
        <form onSubmit={submit} className="grid gap-5">
          <Card title="2. What should it start from?">
            <div className="grid gap-5">
              <BaseModelSelect value={modelId} onChange={setModelId} />
              <Field label="Name" aside="optional">
                <Input name="name" maxLength={200} placeholder="Support assistant" autoComplete="off" />
              </Field>
              <Field
                label="What is it for?"
                aside="optional"
                hint="Noted with the run, for you and those who come after you."
              >
                <Textarea
                  name="goal"
                  maxLength={4000}
                  rows={2}
                  placeholder="Answers customers' questions in our voice"
                />
              </Field>
            </div>
          </Card>
          <Card title="3. How far should it go?">
            <div className="grid gap-4">
              <Checkbox
                name="ask"
                defaultChecked
                label="Show me the configuration before it trains"
                hint="Otherwise it trains with what is recommended, at once."
              />
              <Checkbox
                name="evaluate"
                defaultChecked
                label="Compare the result with its base"
                hint="On rows that are held out from your data."
              />
              <Checkbox
                name="deploy"
                defaultChecked
                label="Deploy it"
                hint="To chat with it, and to call it with any OpenAI SDK."
              />
            </div>
          </Card>
          {start.error && <ErrorNotice error={start.error} />}
          <div className="flex flex-wrap items-center gap-3">
            <Button
              type="submit"
              variant="primary"
              busy={start.isPending}
              disabled={missing !== undefined}
              icon={<ArrowRight aria-hidden className="size-4" />}
            >
              Start
            </Button>
            {missing && <span className="text-ink-3 text-sm">{missing}</span>}
          </div>
        </form>
      </div>
    </Page>
  );
}

const unusable = (status: string | undefined) => status === "failed" || status === "cancelled";

function ChooseData({ onChoose, sample }: { onChoose: (id: string) => void; sample: boolean }) {
  const datasets = useDatasets({ limit: many });
  const usable = datasets.data?.items.filter(({ status }) => status === "ready" || isMoving(status)) ?? [];
  return (
    <div className="grid gap-5">
      <Upload onDone={({ id }) => onChoose(id)} />
      <div className="flex flex-wrap items-end gap-3">
        {usable.length > 0 && (
          <Field label="Or one that is here already" className="flex-1 basis-64">
            <Select value="" onChange={(event) => onChoose(event.target.value)}>
              <option value="">Choose a dataset</option>
              {usable.map((dataset) => (
                <option key={dataset.id} value={dataset.id}>
                  {dataset.name}
                  {dataset.rows ? ` (${plural(dataset.rows, "row")})` : ""}
                </option>
              ))}
            </Select>
          </Field>
        )}
        <SampleButton onChoose={onChoose} atOnce={sample} />
      </div>
    </div>
  );
}

function SampleButton({ onChoose, atOnce }: { onChoose: (id: string) => void; atOnce: boolean }) {
  const add = $api.useMutation("post", "/api/datasets/sample");
  const started = useRef(false);
  const take = () =>
    add.mutate({ params: { query: { project_id: currentProject() } } }, { onSuccess: ({ id }) => onChoose(id) });
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when the page was opened for it
  useEffect(() => {
    if (!atOnce || started.current) return;
    started.current = true;
    take();
  }, [atOnce]);
  return (
    <>
      <Button busy={add.isPending} onClick={take}>
        Use the sample data
      </Button>
      {add.error && <ErrorNotice error={add.error} className="basis-full" />}
    </>
  );
}

function standing({ status, train_rows, eval_rows = 0 }: Dataset): string {
  if (unusable(status)) return "It needs your help, or another file.";
  if (!train_rows) return "Being read. You can go on meanwhile.";
  return `${plural(train_rows, "row")} to train on, ${eval_rows} held out`;
}

function Chosen({ id, onRemove }: { id: string; onRemove: () => void }) {
  const query = useDataset(id);
  if (query.error && !query.data) return <ErrorNotice error={query.error} onRetry={onRemove} />;
  const dataset = query.data;
  return (
    <div className="grid gap-3">
      <div className="flex min-h-10 items-center gap-3">
        <FileText aria-hidden className="size-5 shrink-0 text-ink-3" />
        <div className="min-w-0 flex-1">
          <p className="truncate font-medium">{dataset?.name ?? "…"}</p>
          <p className="text-ink-3 text-sm">{dataset ? standing(dataset) : "…"}</p>
        </div>
        {dataset && (
          <StatusBadge status={dataset.status} label={dataset.status === "running" ? "Reading" : undefined} />
        )}
        <IconButton label="Choose another" onClick={onRemove}>
          <X aria-hidden className="size-4" />
        </IconButton>
      </div>
      {dataset?.status === "failed" && (
        <Unusable
          dataset={dataset}
          actions={
            <ButtonLink size="sm" href={datasetHref(id)}>
              {nobodyKnows(dataset) ? "Choose the columns" : "Look at it"}
            </ButtonLink>
          }
        />
      )}
    </div>
  );
}
