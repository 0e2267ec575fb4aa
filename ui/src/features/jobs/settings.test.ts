import { expect, test } from "vitest";
import { choicesOf, overridesOf, settings, shown, type TrainingConfig, valueAt } from "./settings";

const config: TrainingConfig = {
  method: "lora",
  epochs: 2,
  learning_rate: 0.0002,
  batch_size: 4,
  gradient_accumulation_steps: 2,
  max_length: 512,
  completion_only: false,
  lora: { r: 16, alpha: 16, dropout: 0, target_modules: "all-linear" },
  checkpoint: { every_steps: 0, every_seconds: 60 },
};

test("overrides nest as the API wants them, and hold nothing but what was set", () => {
  expect(overridesOf({ learning_rate: 0.001, "lora.r": 8, "lora.alpha": 16, completion_only: false })).toEqual({
    learning_rate: 0.001,
    lora: { r: 8, alpha: 16 },
    completion_only: false,
  });
  expect(overridesOf({})).toEqual({});
});

test("to repeat a job, what differs from the recommendation is a choice", () => {
  const recommended = { ...config, epochs: 3, lora: { ...config.lora, alpha: 32 } };
  expect(choicesOf(config, recommended)).toEqual({ epochs: 2, "lora.alpha": 16 });
  expect(choicesOf(config, config)).toEqual({});
});

test("without a recommendation every setting of a job is a choice", () => {
  expect(overridesOf(choicesOf(config))).toEqual(config);
});

test("values are found by their path, and shown in words", () => {
  expect(valueAt(config, "checkpoint.every_seconds")).toBe(60);
  expect(valueAt(config, "nothing.there")).toBeUndefined();
  const setting = (path: string) => settings.find((s) => s.path === path)!;
  expect(shown(setting("completion_only"), false)).toBe("off");
  expect(shown(setting("method"), "qlora")).toBe("QLoRA");
  expect(shown(setting("learning_rate"), 0.0002)).toBe("2e-4");
});
