"use client";

import { RotateCcw } from "lucide-react";
import { type ComponentProps, useId, useState } from "react";
import { Card } from "@/components/Card";
import { Field, Input, Select } from "@/components/Field";
import { type Setting, settings, shown, type Value, type Values, valueAt } from "./settings";
import type { Recommendation } from "./useRecommendation";

type ConfigFormProps = {
  recommendation: Recommendation;
  values: Values;
  onChange: (values: Values) => void;
  /** A field that the server refused, and why. */
  refused?: { field: string; message: string };
};

const groups: { name: Setting["group"]; title: string; folded?: boolean }[] = [
  { name: "main", title: "Training" },
  { name: "adapter", title: "Adapter" },
  { name: "batch", title: "Batch and memory" },
  { name: "more", title: "More", folded: true },
];

/** Every choice of a training: filled in with what is recommended, each with its reason. */
export function ConfigForm({ recommendation, values, onChange, refused }: ConfigFormProps) {
  const full = (values.method ?? recommendation.config.method) === "full";
  return (
    <div className="grid gap-5">
      {groups
        .filter(({ name }) => !(full && name === "adapter"))
        .map(({ name, title, folded }) => {
          const fields = settings
            .filter(({ group }) => group === name)
            .map((setting) => (
              <SettingField
                key={setting.path}
                setting={setting}
                recommendation={recommendation}
                values={values}
                onChange={onChange}
                refused={refused}
              />
            ));
          const grid = <div className="grid gap-x-6 gap-y-5 sm:grid-cols-2">{fields}</div>;
          if (!folded) {
            return (
              <Card key={name} title={title}>
                {grid}
              </Card>
            );
          }
          const open = fields.some(({ key }) => (key ?? "") in values || key === shortField(refused?.field));
          return (
            <details
              key={name}
              open={open || undefined}
              className="rounded-lg border border-line bg-surface shadow-card"
            >
              <summary className="px-4 py-3 font-semibold sm:px-5">{title}</summary>
              <div className="p-4 pt-2 sm:px-5">{grid}</div>
            </details>
          );
        })}
    </div>
  );
}

const shortField = (field: string | undefined) => field?.replace(/^config\./, "");

function SettingField({ setting, recommendation, values, onChange, refused }: ConfigFormProps & { setting: Setting }) {
  const { path } = setting;
  const proposed = valueAt(recommendation.config, path);
  const mine = values[path];
  const reason = recommendation.reasons.find(({ field }) => field === path);
  const set = (value: Value | undefined) => {
    const next = { ...values };
    if (value === undefined) delete next[path];
    else next[path] = value;
    onChange(next);
  };
  const because = mine === undefined && reason && reason.source !== "your choice" ? reason.reason : undefined;
  return (
    <Field
      label={setting.label}
      aside={
        mine === undefined ? (
          setting.usual !== undefined && setting.usual !== proposed ? (
            `usual ${shown(setting, setting.usual)}`
          ) : undefined
        ) : (
          <button
            type="button"
            onClick={() => set(undefined)}
            className="inline-flex min-h-6 items-center gap-1 text-accent-ink hover:underline"
          >
            <RotateCcw aria-hidden className="size-3" />
            as recommended
          </button>
        )
      }
      hint={
        <>
          {because ?? setting.help}
          {mine !== undefined && <span className="font-medium text-accent-ink"> Your choice.</span>}
        </>
      }
      error={shortField(refused?.field) === path ? refused?.message : undefined}
    >
      <Control setting={setting} value={mine ?? proposed} onChange={set} />
    </Field>
  );
}

function Control({
  setting,
  value,
  onChange,
}: {
  setting: Setting;
  value: Value | undefined;
  onChange: (value: Value | undefined) => void;
}) {
  const id = useId();
  switch (setting.kind) {
    case "choice":
      return (
        <Select value={String(value ?? "")} onChange={(event) => onChange(event.target.value)}>
          {setting.options.map(([option, label]) => (
            <option key={option} value={option}>
              {label}
            </option>
          ))}
        </Select>
      );
    case "switch":
      return (
        <Select value={value ? "on" : "off"} onChange={(event) => onChange(event.target.value === "on")}>
          <option value="on">On</option>
          <option value="off">Off</option>
        </Select>
      );
    case "text":
      return (
        <Emptiable
          value={String(value ?? "")}
          onChange={(event) => onChange(event.target.value || undefined)}
          autoComplete="off"
          spellCheck={false}
        />
      );
    case "number":
      return (
        <NumberInput
          key={id}
          value={value as number | undefined}
          onChange={onChange}
          step={setting.whole ? 1 : (setting.step ?? "any")}
          min={setting.min}
          max={setting.max}
        />
      );
  }
}

type NumberInputProps = {
  value: number | undefined;
  onChange: (value: number | undefined) => void;
  step: number | "any";
  min?: number;
  max?: number;
};

function NumberInput({ value, onChange, step, min, max }: NumberInputProps) {
  return (
    <Emptiable
      type="number"
      inputMode="decimal"
      className="tabular"
      value={value ?? ""}
      step={step}
      min={min}
      max={max}
      onChange={(event) => onChange(event.target.value === "" ? undefined : event.target.valueAsNumber)}
    />
  );
}

/** Emptied, it is as recommended again; the recommendation comes back when it is left, not under the typing hand. */
function Emptiable({ value, onChange, ...rest }: ComponentProps<typeof Input>) {
  const [emptied, setEmptied] = useState(false);
  return (
    <Input
      value={emptied ? "" : value}
      onChange={(event) => {
        setEmptied(event.target.value === "");
        onChange?.(event);
      }}
      onBlur={() => setEmptied(false)}
      {...rest}
    />
  );
}
