import type { Schemas } from "@/lib/api/client";

export type TrainingConfig = Schemas["TrainingConfig"];
export type Overrides = Schemas["TrainingOverrides"];
export type Value = string | number | boolean;

/** Values by the field's path, as the API names it: "lora.r". */
export type Values = Record<string, Value>;

export type Setting = {
  path: string;
  label: string;
  help: string;
  group: "main" | "batch" | "adapter" | "more";
  /** What TRL's SFTConfig and PEFT's LoraConfig have when nobody says anything; undefined: they have no such thing. */
  usual?: Value;
} & (
  | { kind: "number"; step?: number | "any"; min?: number; max?: number; whole?: boolean }
  | { kind: "choice"; options: [string, string][] }
  | { kind: "switch" }
  | { kind: "text" }
);

export const settings: Setting[] = [
  {
    path: "method",
    label: "Method",
    help: "LoRA trains a small adapter; QLoRA does so on 4-bit weights; full trains every weight.",
    group: "main",
    kind: "choice",
    options: [
      ["lora", "LoRA"],
      ["qlora", "QLoRA"],
      ["full", "All weights"],
    ],
  },
  {
    path: "epochs",
    label: "Passes over the data",
    help: "How often each row is seen.",
    group: "main",
    kind: "number",
    step: "any",
    min: 0,
    usual: 3,
  },
  {
    path: "learning_rate",
    label: "Learning rate",
    help: "How far each step goes. Too high forgets, too low learns nothing.",
    group: "main",
    kind: "number",
    step: "any",
    min: 0,
    usual: 2e-5,
  },
  {
    path: "max_length",
    label: "Longest row",
    help: "In tokens; what is longer is cut off.",
    group: "main",
    kind: "number",
    whole: true,
    min: 1,
    usual: 1024,
  },
  {
    path: "batch_size",
    label: "Rows at a time",
    help: "Rows that are in memory together.",
    group: "batch",
    kind: "number",
    whole: true,
    min: 1,
    usual: 8,
  },
  {
    path: "gradient_accumulation_steps",
    label: "Times a step",
    help: "So many of those make one step. Rows a step is the product.",
    group: "batch",
    kind: "number",
    whole: true,
    min: 1,
    usual: 1,
  },
  {
    path: "gradient_checkpointing",
    label: "Compute again to save memory",
    help: "Slower, and needs much less memory (gradient checkpointing).",
    group: "batch",
    kind: "switch",
    usual: true,
  },
  {
    path: "precision",
    label: "Precision",
    help: "Automatic takes what the machine does best.",
    group: "batch",
    kind: "choice",
    options: [
      ["auto", "Automatic"],
      ["fp32", "fp32"],
      ["bf16", "bf16"],
      ["fp16", "fp16"],
    ],
  },
  {
    path: "lora.r",
    label: "Rank",
    help: "How much an adapter can hold.",
    group: "adapter",
    kind: "number",
    whole: true,
    min: 1,
    usual: 8,
  },
  {
    path: "lora.alpha",
    label: "Alpha",
    help: "How strongly the adapter acts, in proportion to its rank.",
    group: "adapter",
    kind: "number",
    whole: true,
    min: 1,
    usual: 8,
  },
  {
    path: "lora.dropout",
    label: "Dropout",
    help: "Share of the adapter that is left out at random while training.",
    group: "adapter",
    kind: "number",
    step: "any",
    min: 0,
    max: 0.99,
    usual: 0,
  },
  {
    path: "lora.target_modules",
    label: "Layers",
    help: "all-linear, or names with commas between them.",
    group: "adapter",
    kind: "text",
  },
  {
    path: "scheduler",
    label: "Schedule",
    help: "How the learning rate falls.",
    group: "more",
    kind: "choice",
    options: [
      ["cosine", "Cosine"],
      ["linear", "Linear"],
      ["constant", "Constant"],
    ],
    usual: "linear",
  },
  {
    path: "warmup_ratio",
    label: "Warm-up",
    help: "Share of the steps in which the rate rises.",
    group: "more",
    kind: "number",
    step: "any",
    min: 0,
    max: 1,
    usual: 0,
  },
  {
    path: "weight_decay",
    label: "Weight decay",
    help: "Pulls weights towards zero.",
    group: "more",
    kind: "number",
    step: "any",
    min: 0,
    usual: 0,
  },
  {
    path: "max_grad_norm",
    label: "Gradient clipping",
    help: "Longest gradient that is taken as it is.",
    group: "more",
    kind: "number",
    step: "any",
    min: 0,
    usual: 1,
  },
  {
    path: "max_steps",
    label: "Stop after",
    help: "Steps; 0 goes by passes.",
    group: "more",
    kind: "number",
    whole: true,
    min: 0,
  },
  {
    path: "eval_every_steps",
    label: "Judge every",
    help: "Steps between two looks at the held-out rows; 0 looks at the end only.",
    group: "more",
    kind: "number",
    whole: true,
    min: 0,
  },
  {
    path: "checkpoint.every_steps",
    label: "Save every",
    help: "Steps; 0 goes by time.",
    group: "more",
    kind: "number",
    whole: true,
    min: 0,
    usual: 500,
  },
  {
    path: "checkpoint.every_seconds",
    label: "Save after",
    help: "Seconds; 0 goes by steps.",
    group: "more",
    kind: "number",
    whole: true,
    min: 0,
  },
  {
    path: "completion_only",
    label: "Learn answers only",
    help: "The rest of a row is read, not learnt.",
    group: "more",
    kind: "switch",
  },
  {
    path: "seed",
    label: "Seed",
    help: "The same seed gives the same run.",
    group: "more",
    kind: "number",
    whole: true,
    min: 0,
    usual: 42,
  },
];

/** The field of a configuration that a path names. */
export function valueAt(config: unknown, path: string): Value | undefined {
  let at: unknown = config;
  for (const name of path.split(".")) at = (at as Record<string, unknown> | undefined)?.[name];
  return at as Value | undefined;
}

/** The overrides that the API takes: what the user set, and nothing else. */
export function overridesOf(values: Values): Overrides {
  const out: Record<string, unknown> = {};
  for (const [path, value] of Object.entries(values)) {
    const names = path.split(".");
    const last = names.pop()!;
    let at = out;
    for (const name of names) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = value;
  }
  return out as Overrides;
}

/** To repeat a job: what differs from the recommendation is a choice; without one, everything is. */
export function choicesOf(config: TrainingConfig, recommended?: TrainingConfig): Values {
  const values: Values = {};
  for (const { path } of settings) {
    const value = valueAt(config, path);
    if (value !== undefined && value !== valueAt(recommended, path)) values[path] = value;
  }
  return values;
}

/** A value in the words of the form. */
export function shown(setting: Setting, value: Value | undefined): string {
  if (value === undefined) return "–";
  if (setting.kind === "switch") return value ? "on" : "off";
  if (setting.kind === "choice") return setting.options.find(([v]) => v === value)?.[1] ?? String(value);
  if (typeof value === "number" && value !== 0 && Math.abs(value) < 0.001) return value.toExponential();
  return String(value);
}
