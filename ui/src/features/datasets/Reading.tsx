import { Progress } from "@/components/Progress";
import { bytes } from "@/lib/format";
import type { Dataset } from "./queries";

const phases: Record<string, string> = {
  read: "Reading every row",
  plan: "Choosing which rows to keep and which to hold out",
  write: "Writing the rows down",
};

/** How far the reading of a file has come. */
export function Reading({ dataset }: { dataset: Dataset }) {
  const { phase, done = 0, total = 0, note } = dataset.progress ?? {};
  const words = phase ? (phases[phase] ?? phase) : "Waiting to be read";
  return (
    <>
      <p className="mb-2 flex flex-wrap justify-between gap-x-4">
        <span className="font-medium">{words}</span>
        {total > 0 && (
          <span className="tabular text-ink-3">
            {bytes(done)} of {bytes(total)}
            {note && `, ${note}`}
          </span>
        )}
      </p>
      <Progress value={total > 0 ? done / total : undefined} label={words} />
    </>
  );
}
