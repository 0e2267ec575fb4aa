import type { Schemas } from "@/lib/api/client";
import type { Columns } from "@/lib/thin";

export type MetricPoint = Schemas["MetricPoint"];

/** The measures of a training that can be drawn over its steps. */
export const measures = ["loss", "eval_loss", "learning_rate", "grad_norm", "tokens_per_second"] as const;
export type Measure = (typeof measures)[number];

/**
 * A training's curves, in columns as a chart wants them. Steps come in order but for a rewind, after which some come
 * again, with the values that they had; a step stands once, with NaN for what it was not measured in.
 */
export class Curves {
  private readonly places = new Column();
  private readonly columns = measures.map((measure) => ({ measure, column: new Column() }));

  get length(): number {
    return this.places.length;
  }

  get steps(): Float64Array {
    return this.places.values;
  }

  of(measure: Measure): Float64Array {
    return this.columns.find((each) => each.measure === measure)!.column.values;
  }

  /** Adds what a point says of its step. */
  put(point: Partial<MetricPoint> & { step: number }) {
    const at = this.place(point.step);
    for (const { measure, column } of this.columns) {
      const value = point[measure];
      if (value !== undefined && value !== null) column.set(at, value);
    }
  }

  /** Where a step stands, made if need be. */
  private place(step: number): number {
    const last = this.length - 1;
    if (last < 0 || step > this.places.get(last)) return this.insert(last + 1, step);
    let low = 0;
    let high = last;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.places.get(middle) < step) low = middle + 1;
      else high = middle;
    }
    return this.places.get(low) === step ? low : this.insert(low, step);
  }

  private insert(at: number, step: number): number {
    this.places.insert(at, step);
    for (const { column } of this.columns) column.insert(at, Number.NaN);
    return at;
  }
}

const firstRoom = 1024;

/** Numbers in a row, to which more come at the end. */
class Column {
  private room = new Float64Array(firstRoom);
  length = 0;

  /** What there is, as long as nothing is inserted. */
  get values(): Float64Array {
    return this.room.subarray(0, this.length);
  }

  get(at: number): number {
    return this.room[at]!;
  }

  set(at: number, value: number) {
    this.room[at] = value;
  }

  insert(at: number, value: number) {
    if (this.length === this.room.length) {
      const larger = new Float64Array(2 * this.length);
      larger.set(this.room);
      this.room = larger;
    }
    if (at < this.length) this.room.copyWithin(at + 1, at, this.length);
    this.room[at] = value;
    this.length++;
  }
}

/**
 * An exponential moving average, weight 0 (as measured) to under 1. It begins without the pull towards zero that a plain
 * average has (debiased as TensorBoard's is). What is not there, or not finite, stays as it is.
 */
export function smooth(values: Float64Array, weight: number): Float64Array {
  if (weight === 0) return values;
  const smoothed = values.slice();
  let sum = 0;
  let certainty = 1;
  // A loop, for a live curve is smoothed ten times a second, however long it is.
  for (let at = 0; at < smoothed.length; at++) {
    const value = smoothed[at]!;
    if (!Number.isFinite(value)) continue;
    sum = sum * weight + value * (1 - weight);
    certainty *= weight;
    smoothed[at] = sum / (1 - certainty);
  }
  return smoothed;
}

/** The first and the last value of a column; undefined where it has none. */
export function ends(values: Float64Array): [first: number | undefined, last: number | undefined] {
  let first = 0;
  let last = values.length - 1;
  while (first <= last && Number.isNaN(values[first]!)) first++;
  while (last >= first && Number.isNaN(values[last]!)) last--;
  return first > last ? [undefined, undefined] : [values[first], values[last]];
}

const compared = 0.6;

/** Several runs over the same steps: of each its training loss, smoothed, and its held-out loss. */
export function sideBySide(runs: MetricPoint[][]): Columns {
  const curves = runs.map((points) => {
    const of = new Curves();
    for (const point of points) of.put(point);
    return of;
  });
  const steps = Float64Array.from(new Set(curves.flatMap((of) => [...of.steps]))).sort();
  const columns = curves.flatMap((curve) => {
    const at = new Map(Array.from(curve.steps, (step, i) => [step, i]));
    const over = (values: Float64Array) => steps.map((step) => values[at.get(step) ?? -1] ?? Number.NaN);
    return [over(smooth(curve.of("loss"), compared)), over(curve.of("eval_loss"))];
  });
  return [steps, ...columns];
}
