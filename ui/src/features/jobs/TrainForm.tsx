"use client";

import { Play } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { type FormEvent, useState } from "react";
import { Button, ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Field, Input, Select } from "@/components/Field";
import { ErrorNotice, Notice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Skeleton } from "@/components/Skeleton";
import { useDatasets } from "@/features/datasets/queries";
import type { Priority } from "@/features/life/edits";
import { PriorityOptions } from "@/features/life/PriorityOptions";
import { BaseModelSelect } from "@/features/models/BaseModelSelect";
import { PageSkeleton } from "@/features/shell/ById";
import { $api } from "@/lib/api/client";
import { many } from "@/lib/api/lists";
import { asProblem } from "@/lib/api/problem";
import { plural } from "@/lib/format";
import { ConfigForm } from "./ConfigForm";
import { Prediction } from "./Prediction";
import { jobHref } from "./queries";
import { choicesOf, overridesOf, type Values } from "./settings";
import { useRecommendation } from "./useRecommendation";

/** A training with every choice in sight; ?from=JOB begins with an earlier one's. */
export function TrainForm() {
  const from = useSearchParams().get("from") ?? "";
  const job = $api.useQuery(
    "get",
    "/api/training/{id}",
    { params: { path: { id: from } } },
    { enabled: from !== "", refetchOnWindowFocus: false },
  );
  const plain = useRecommendation(job.data?.dataset_id ?? "", job.data?.model_id ?? "", noChoices);
  if (from && job.error) {
    return (
      <Page title="Train again" parent={parent}>
        <ErrorNotice error={job.error} onRetry={() => job.refetch()} />
      </Page>
    );
  }
  if (!from) return <Form />;
  // A dataset that is gone has no recommendation; the form says so, with everything as it was.
  if (!job.data || !(plain.data || plain.error)) return <PageSkeleton />;
  const { dataset_id, model_id, name, config, priority } = job.data;
  const values = choicesOf(config, plain.data?.config);
  return <Form repeat={{ dataset: dataset_id, model: model_id, name, priority, values }} />;
}

const noChoices: Values = {};
const parent = { href: "/jobs", label: "Training" };

type Repeat = { dataset: string; model: string; name?: string; priority?: Priority; values: Values };

function Form({ repeat }: { repeat?: Repeat }) {
  const router = useRouter();
  const params = useSearchParams();
  const [datasetId, setDatasetId] = useState(repeat?.dataset ?? params.get("dataset") ?? "");
  const [modelId, setModelId] = useState(repeat?.model ?? params.get("model") ?? "");
  const [values, setValues] = useState<Values>(repeat?.values ?? {});
  const recommended = useRecommendation(datasetId, modelId, values);
  const start = $api.useMutation("post", "/api/training/start");

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const name = String(form.get("name")).trim();
    start.mutate(
      {
        body: {
          dataset_id: datasetId,
          model_id: modelId || undefined,
          name: name || undefined,
          config: overridesOf(values),
          priority: form.get("priority") as Priority,
        },
      },
      { onSuccess: ({ id }) => router.push(jobHref(id)) },
    );
  };
  const error = recommended.error ?? start.error;
  const problem = error ? asProblem(error) : undefined;
  const fields = recommended.data;
  return (
    <Page
      title={repeat ? "Train again" : "New training"}
      parent={parent}
      note={`${repeat ? "Set as it was then: what differs from the recommendation is marked as your choice." : "Everything is filled in with what suits your data, model and machine. Change what you like; the rest follows."} “Usual” is what TRL and PEFT take when nobody says anything.`}
    >
      <form onSubmit={submit} className="grid gap-5 lg:grid-cols-[1fr_19rem]">
        <div className="grid min-w-0 content-start gap-5">
          <Card>
            <div className="grid gap-5 sm:grid-cols-2">
              <DatasetSelect value={datasetId} onChange={setDatasetId} />
              <BaseModelSelect value={modelId} onChange={setModelId} />
              <Field label="Name" aside="optional">
                <Input name="name" defaultValue={repeat?.name} maxLength={200} autoComplete="off" />
              </Field>
              <Field label="Priority" aside="among this project’s own">
                <Select name="priority" defaultValue={repeat?.priority ?? "normal"}>
                  <PriorityOptions />
                </Select>
              </Field>
            </div>
          </Card>
          {problem && !(fields && problem.field?.startsWith("config.")) && <ErrorNotice error={problem} />}
          {fields ? (
            <ConfigForm
              recommendation={fields}
              values={values}
              onChange={setValues}
              refused={
                problem?.field
                  ? { field: problem.field, message: [problem.message, problem.remedy].filter(Boolean).join("; ") }
                  : undefined
              }
            />
          ) : (
            datasetId && !problem && <Skeleton className="h-96" />
          )}
        </div>
        <div className="min-w-0">
          <Card title="What to expect" className="sticky top-20 lg:top-6">
            {fields && !problem ? (
              <Prediction recommendation={fields} stale={recommended.settling} />
            ) : (
              <p className="min-h-40 text-ink-3">
                {problem
                  ? "This cannot be trained as it stands."
                  : datasetId
                    ? "Being worked out."
                    : "Choose a dataset, and what it takes is shown here."}
              </p>
            )}
            <Button
              type="submit"
              variant="primary"
              className="mt-5 w-full"
              busy={start.isPending}
              disabled={!fields || Boolean(recommended.error) || recommended.settling}
              icon={<Play aria-hidden className="size-4" />}
            >
              Start the training
            </Button>
            {Object.keys(values).length > 0 && (
              <Button variant="quiet" className="mt-2 w-full" onClick={() => setValues({})}>
                All as recommended
              </Button>
            )}
          </Card>
        </div>
      </form>
    </Page>
  );
}

function DatasetSelect({ value, onChange }: { value: string; onChange: (id: string) => void }) {
  const datasets = useDatasets({ status: ["ready"], sort: "-updated", limit: many });
  const ready = datasets.data?.items ?? [];
  if (datasets.data && ready.length === 0) {
    return (
      <Notice
        title="There is no dataset to train on yet"
        actions={
          <ButtonLink size="sm" href="/datasets?upload=1">
            Upload one
          </ButtonLink>
        }
      />
    );
  }
  return (
    <Field label="Dataset">
      <Select value={value} required onChange={(event) => onChange(event.target.value)} disabled={!datasets.data}>
        <option value="">Choose a dataset</option>
        {ready.map((dataset) => (
          <option key={dataset.id} value={dataset.id}>
            {dataset.name} ({plural(dataset.train_rows ?? 0, "row")})
          </option>
        ))}
      </Select>
    </Field>
  );
}
