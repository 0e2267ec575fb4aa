import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { useState } from "react";
import { expect, test } from "vitest";
import { ConfigForm } from "./ConfigForm";
import type { Values } from "./settings";
import type { Recommendation } from "./useRecommendation";

const recommendation = {
  config: { method: "lora", batch_size: 4, learning_rate: 0.0002, lora: { r: 16, target_modules: "all-linear" } },
  reasons: [],
} as unknown as Recommendation;

let chosen: Values;

function Form() {
  const [values, setValues] = useState<Values>({});
  chosen = values;
  return <ConfigForm recommendation={recommendation} values={values} onChange={setValues} />;
}

const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label);

test("a number that is deleted to be typed anew stays deleted meanwhile", async () => {
  const user = userEvent.setup();
  renderApp(<Form />);
  await user.type(field("Rows at a time"), "{Backspace}2");
  expect(field("Rows at a time").value).toBe("2");
  expect(chosen).toEqual({ batch_size: 2 });
});

test("a field that is left empty is as recommended again", async () => {
  const user = userEvent.setup();
  renderApp(<Form />);
  await user.type(field("Rows at a time"), "8");
  expect(chosen).toEqual({ batch_size: 48 });
  await user.clear(field("Rows at a time"));
  expect(chosen).toEqual({});
  await user.tab();
  expect(field("Rows at a time").value).toBe("4");
  await user.clear(field("Layers"));
  expect(field("Layers").value).toBe("");
  await user.type(field("Layers"), "q_proj");
  expect(chosen).toEqual({ "lora.target_modules": "q_proj" });
});
