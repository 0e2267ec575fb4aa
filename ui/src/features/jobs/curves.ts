import type { Schemas } from "@/lib/api/client";
import type { Columns } from "@/lib/thin";

export type MetricPoint = Schemas["MetricPoint"];

/** The measures of a training that can be drawn over its steps. */
export const measures = ["loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second"] as const;
export type Measure = (typeof measures)[number];

/**
 * A training's curves, in columns as a chart wants them. Steps come in order but for a rewind, after which some come
 * again, with the values that they had; a step stands once.
 */
export class Curves {
  readonly steps: number[] = [];
  readonly values: Record<Measure, (number | null)[]> = {
    loss: [],
    eval_loss: [],
    learning_rate: [],
    grad_norm: [],
    tokens_per_second: [],
  };

  get length(): number {
    return this.steps.length;
  }

  /** Adds what a point says of its step. */
  put(point: Partial<MetricPoint> & { step: number }) {
    const at = this.place(point.step);
    for (const measure of measures) {
      const value = point[measure];
      if (value !== undefined && value !== null) this.values[measure][at] = value;
    }
  }

  /** Where a step stands, made if need be. */
  private place(step: number): number {
    const last = this.steps.length - 1;
    if (last < 0 || step > this.steps[last]!) {
      this.insert(last + 1, step);
      return last + 1;
    }
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle]! < step) low = middle + 1;
      else high = middle;
    }
    if (this.steps[low] !== step) this.insert(low, step);
    return low;
  }

  private insert(at: number, step: number) {
    this.steps.splice(at, 0, step);
    for (const measure of measures) this.values[measure].splice(at, 0, null);
  }
}

/**
 * An exponential moving average, weight 0 (as measured) to under 1. It begins without the pull towards zero that a plain
 * average has (debiased as TensorBoard's is). What is not there stays not there.
 */
export function smooth(values: (number | null)[], weight: number): (number | null)[] {
  if (weight === 0) return values;
  let sum = 0;
  let certainty = 1;
  return values.map((value) => {
    if (value === null || !Number.isFinite(value)) return value;
    sum = sum * weight + value * (1 - weight);
    certainty *= weight;
    return sum / (1 - certainty);
  });
}

const compared = 0.6;

/** Several runs over the same steps: of each its training loss, smoothed, and its held-out loss. */
export function sideBySide(runs: MetricPoint[][]): Columns {
  const curves = runs.map((points) => {
    const of = new Curves();
    for (const point of points) of.put(point);
    return of;
  });
  const steps = [...new Set(curves.flatMap((of) => of.steps))].sort((a, b) => a - b);
  const columns = curves.flatMap((of) => {
    const at = new Map(of.steps.map((step, i) => [step, i]));
    const over = (values: (number | null)[]) => steps.map((step) => values[at.get(step) ?? -1] ?? null);
    return [over(smooth(of.values.loss, compared)), over(of.values.eval_loss)];
  });
  return [steps, ...columns];
}
