"use client";

import { Button } from "@/components/Button";
import { DropZone } from "@/components/DropZone";
import { ErrorNotice } from "@/components/Notice";
import { Progress } from "@/components/Progress";
import { bytes, duration } from "@/lib/format";
import type { Dataset } from "./queries";
import { accepted, type UploadState, useUpload } from "./upload";

/** Takes a file and sends it. */
export function Upload({ onDone }: { onDone: (dataset: Dataset) => void }) {
  const { state, start, cancel, dismiss } = useUpload(onDone);
  if (state.phase === "sending") return <Sending state={state} onCancel={cancel} />;
  return (
    <div className="grid gap-4">
      {state.phase === "failed" && (
        <ErrorNotice
          error={state.problem}
          title={`${state.file.name} was not taken`}
          onRetry={() => start({ file: state.file })}
        />
      )}
      <DropZone
        onFile={(file) => {
          dismiss();
          void start({ file });
        }}
        accept={accepted}
        title="Choose a file, or drop it here"
        hint="JSON Lines, JSON, CSV, Parquet or plain text. It stays on this machine, encrypted."
      />
    </div>
  );
}

function Sending({ state, onCancel }: { state: Extract<UploadState, { phase: "sending" }>; onCancel: () => void }) {
  const { file, sent, total, startedAt } = state;
  const elapsed = (Date.now() - startedAt) / 1000;
  const left = sent > 0 && elapsed > 2 ? ((total - sent) * elapsed) / sent : undefined;
  return (
    <div className="grid gap-3 rounded-lg border border-line p-5">
      <div className="flex items-center justify-between gap-4">
        <div className="min-w-0">
          <p className="truncate font-medium">{file.name}</p>
          <p className="tabular text-ink-3 text-sm">
            {sent < total ? `${bytes(sent)} of ${bytes(total)}` : "Sent. The server is storing it."}
            {left !== undefined && sent < total && ` · ${duration(left)} left`}
          </p>
        </div>
        <Button size="sm" onClick={onCancel}>
          Cancel
        </Button>
      </div>
      <Progress value={total > 0 ? sent / total : undefined} label={`Upload of ${file.name}`} />
    </div>
  );
}
