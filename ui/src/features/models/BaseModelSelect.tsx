"use client";

import { Field, Select } from "@/components/Field";
import { many } from "@/lib/api/lists";
import { shortCount } from "@/lib/format";
import { isBundled, type Model, useModels } from "./queries";

type BaseModelSelectProps = { value: string; onChange: (id: string) => void };

/** The model that a training starts from: a base (the bundled one unless another is chosen), or a tuned one to go on from. */
export function BaseModelSelect({ value, onChange }: BaseModelSelectProps) {
  const models = useModels({ limit: many });
  const items = models.data?.items ?? [];
  const tuned = items.filter(({ kind }) => kind === "tuned");
  const bundled = items.find(isBundled);
  const chosen = items.find(({ id }) => id === value) ?? (value ? undefined : bundled);
  return (
    <Field
      label="Model"
      hint={chosen?.kind === "tuned" ? "Training goes on from it, with its own adapter." : chosen?.description}
      error={models.error ? "The models could not be listed." : undefined}
    >
      <Select value={value} onChange={(event) => onChange(event.target.value)} disabled={!models.data}>
        <option value="">{bundled ? label(bundled) : "The bundled one"}</option>
        {items.filter((model) => model.kind === "base" && (model !== bundled || value === model.id)).map(option)}
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
    isBundled(model) ? "bundled" : undefined,
    model.gated ? "gated" : undefined,
  ].filter(Boolean);
  return remarks.length > 0 ? `${model.name} (${remarks.join(", ")})` : model.name;
}
