"use client";

import { Field, Select } from "@/components/Field";
import { many } from "@/lib/api/lists";
import { shortCount } from "@/lib/format";
import { type Model, useModels } from "./queries";

type BaseModelSelectProps = { value: string; onChange: (id: string) => void; automatic?: string };

/** The base that a training starts from. */
export function BaseModelSelect({ value, onChange, automatic }: BaseModelSelectProps) {
  const models = useModels({ kind: "base", limit: many });
  const items = models.data?.items ?? [];
  const chosen = items.find(({ id }) => id === value);
  return (
    <Field
      label="Base model"
      hint={chosen?.description}
      error={models.error ? "The models could not be listed." : undefined}
    >
      <Select value={value} onChange={(event) => onChange(event.target.value)} disabled={!models.data}>
        {automatic && <option value="">{automatic}</option>}
        {items.map((model) => (
          <option key={model.id} value={model.id}>
            {label(model)}
          </option>
        ))}
        {value && models.data && !chosen && <option value={value}>{value}</option>}
      </Select>
    </Field>
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
