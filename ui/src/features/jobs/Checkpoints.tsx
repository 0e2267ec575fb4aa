import { Badge } from "@/components/Badge";
import { Card } from "@/components/Card";
import type { Schemas } from "@/lib/api/client";
import { bytes, count } from "@/lib/format";

/** What is kept of a run: it goes on from the newest, whatever happens. */
export function Checkpoints({ checkpoints }: { checkpoints: Schemas["CheckpointCommitted"][] }) {
  return (
    <Card
      title="Checkpoints"
      note="Saved with VibeFlow: the last two, the best and the final one are kept. A killed run goes on from the newest."
      flush
    >
      {checkpoints.length === 0 ? (
        <p className="px-4 pb-4 text-ink-3 sm:px-5">None yet.</p>
      ) : (
        <ul className="divide-y divide-line">
          {checkpoints.map((checkpoint) => (
            <li key={checkpoint.name} className="flex h-11 items-center gap-3 px-4 sm:px-5">
              <span className="tabular font-medium">Step {count(checkpoint.step)}</span>
              {checkpoint.best && <Badge tone="good">best</Badge>}
              {checkpoint.final && <Badge tone="accent">final</Badge>}
              <span className="tabular ml-auto text-ink-3 text-sm">{bytes(checkpoint.bytes)}</span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
