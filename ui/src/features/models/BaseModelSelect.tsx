"use client";

import { Field, Select } from "@/components/Field";
import { many } from "@/lib/api/lists";
import { shortCount } from "@/lib/format";
import { type Model, useModels } from "./queries";

type BaseModelSelectProps = { value: string; onChange: (id: string) => void; automatic?: string };

/** The model that a training starts from: a base, or a tuned one that it goes on from. */
export function BaseModelSelect({ value, onChange, automatic }: BaseModelSelectProps) {
  const models = useModels({ limit: many });
  const items = models.data?.items ?? [];
  const tuned = items.filter(({ kind }) => kind === "tuned");
  const chosen = items.find(({ id }) => id === value);
  return (
    <Field
      label="Model"
      hint={chosen?.kind === "tuned" ? "Training goes on from it, with its own adapter." : chosen?.description}
      error={models.error ? "The models could not be listed." : undefined}
    >
      <Select value={value} onChange={(event) => onChange(event.target.value)} disabled={!models.data}>
        {automatic && <option value="">{automatic}</option>}
        {items.filter(({ kind }) => kind === "base").map(option)}
        {tuned.length > 0 && <optgroup label="Go on from a tuned model">{tuned.map(option)}</optgroup>}
        {value && models.data && !chosen && <option value={value}>{value}</option>}
      </Select>
    </Field>
  );
}

function option(model: Model) {
  return (
    <option key={model.id} value={model.id}>
      {label(model)}
    </option>
  );
}

function label(model: Model): string {
  const remarks = [
    model.parameters ? shortCount(model.parameters) : undefined,
    model.source?.startsWith("bundled:") ? "bundled" : undefined,
    model.gated ? "gated" : undefined,
  ].filter(Boolean);
  return remarks.length > 0 ? `${model.name} (${remarks.join(", ")})` : model.name;
}
