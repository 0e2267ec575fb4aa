import { bytes, duration } from "@/lib/format";
import type { UploadState } from "@/lib/upload";
import { Button } from "./Button";
import { Progress } from "./Progress";

type SendingProps = { state: Extract<UploadState, { phase: "sending" }>; onCancel: () => void };

/** An upload under way. */
export function Sending({ state, onCancel }: SendingProps) {
  const { label, sent, total, startedAt } = state;
  const elapsed = (Date.now() - startedAt) / 1000;
  const left = sent > 0 && elapsed > 2 ? ((total - sent) * elapsed) / sent : undefined;
  return (
    <div className="grid gap-3 rounded-lg border border-line p-5">
      <div className="flex items-center justify-between gap-4">
        <div className="min-w-0">
          <p className="truncate font-medium">{label}</p>
          <p className="tabular text-ink-3 text-sm">
            {sent < total ? `${bytes(sent)} of ${bytes(total)}` : "Sent. The server is storing it."}
            {left !== undefined && sent < total && ` · ${duration(left)} left`}
          </p>
        </div>
        <Button size="sm" onClick={onCancel}>
          Cancel
        </Button>
      </div>
      <Progress value={total > 0 ? sent / total : undefined} label={`Upload of ${label}`} />
    </div>
  );
}
