import { csv, downloadText } from "@/lib/download";
import { type Curves, ends, measures } from "./curves";

/** Saves a training's curves as a CSV file, a line for each step. */
export function saveCurves(jobId: string, curves: Curves) {
  const columns = measures.map((each) => curves.of(each));
  const row = (step: number, at: number) => [step, ...columns.map((values) => ends(values.subarray(at, at + 1))[0])];
  downloadText(`${jobId}-curves.csv`, csv([["step", ...measures], ...Array.from(curves.steps, row)]), "text/csv");
}
