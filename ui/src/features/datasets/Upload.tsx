"use client";

import { lazy, Suspense } from "react";
import { DropZone } from "@/components/DropZone";
import { ErrorNotice } from "@/components/Notice";
import { Skeleton } from "@/components/Skeleton";
import { currentProject } from "@/features/projects/current";
import { type Parcel, useUpload } from "@/lib/upload";
import type { Dataset } from "./queries";

const Sending = lazy(() => import("@/components/Sending").then(({ Sending }) => ({ default: Sending })));

const accepted = ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.txt,.md";

/** Takes a file and sends it. */
export function Upload({ onDone }: { onDone: (dataset: Dataset) => void }) {
  const { state, start, cancel, dismiss } = useUpload<Dataset>("/api/datasets/upload", onDone);
  if (state.phase === "sending") {
    return (
      <Suspense fallback={<Skeleton className="h-24" />}>
        <Sending state={state} onCancel={cancel} />
      </Suspense>
    );
  }
  return (
    <div className="grid gap-4">
      {state.phase === "failed" && (
        <ErrorNotice
          error={state.problem}
          title={`${state.parcel.label} was not taken`}
          onRetry={() => start(state.parcel)}
        />
      )}
      <DropZone
        onFiles={([file]) => {
          dismiss();
          void start(parcelOf(file!));
        }}
        accept={accepted}
        title="Choose a file, or drop it here"
        hint="JSON Lines, JSON, CSV, Parquet or plain text. It stays on this machine, encrypted."
      />
    </div>
  );
}

function parcelOf(file: File): Parcel {
  const form = new FormData();
  form.set("name", file.name.replace(/\.[^.]+$/, ""));
  const project = currentProject();
  if (project) form.set("project_id", project);
  form.set("file", file); // the server wants it last
  return { label: file.name, size: file.size, form };
}
