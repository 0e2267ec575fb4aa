import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { currentProject } from "@/features/projects/current";
import { api } from "@/lib/api/client";
import { connection } from "@/lib/api/connection";
import { Problem } from "@/lib/api/problem";
import type { Dataset, ProcessOptions } from "./queries";

export const accepted = ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.txt,.md";

export type UploadState =
  | { phase: "idle" }
  | { phase: "sending"; file: File; sent: number; total: number; startedAt: number }
  | { phase: "failed"; file: File; problem: Problem };

type Sending = { file: File; name?: string; options?: ProcessOptions };

/** Sends a file with progress; cancel leaves nothing behind on the server. */
export function useUpload(onDone: (dataset: Dataset) => void) {
  const [state, setState] = useState<UploadState>({ phase: "idle" });
  const request = useRef<XMLHttpRequest>(undefined);
  const client = useQueryClient();
  useEffect(() => () => request.current?.abort(), []);

  const start = async (sending: Sending) => {
    const { file } = sending;
    const startedAt = Date.now();
    setState({ phase: "sending", file, sent: 0, total: file.size, startedAt });
    try {
      // Renews a session that has run out, which an upload under way could not.
      await api.GET("/api/datasets", { params: { query: { limit: 1 } } });
      const xhr = new XMLHttpRequest();
      request.current = xhr;
      const dataset = await send(xhr, sending, (sent, total) =>
        setState({ phase: "sending", file, sent, total, startedAt }),
      );
      setState({ phase: "idle" });
      void client.invalidateQueries();
      onDone(dataset);
    } catch (error) {
      if (error === cancelled) setState({ phase: "idle" });
      else setState({ phase: "failed", file, problem: error instanceof Problem ? error : Problem.unreachable() });
    }
  };
  return { state, start, cancel: () => request.current?.abort(), dismiss: () => setState({ phase: "idle" }) };
}

const cancelled = Symbol("cancelled");

/** fetch cannot tell how much of a body was sent; XMLHttpRequest can. */
function send(
  xhr: XMLHttpRequest,
  { file, name, options }: Sending,
  onProgress: (sent: number, total: number) => void,
): Promise<Dataset> {
  const form = new FormData();
  form.set("name", name || file.name.replace(/\.[^.]+$/, ""));
  const project = currentProject();
  if (project) form.set("project_id", project);
  if (options) form.set("options", new Blob([JSON.stringify(options)], { type: "application/json" }));
  form.set("file", file); // the server wants it last
  return new Promise((resolve, reject) => {
    xhr.open("POST", "/api/datasets/upload");
    xhr.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
    xhr.onabort = () => reject(cancelled);
    xhr.onerror = () => {
      connection.report(false);
      reject(Problem.unreachable());
    };
    xhr.onload = async () => {
      if (xhr.status === 201) return resolve(JSON.parse(xhr.responseText) as Dataset);
      reject(await Problem.of(new Response(xhr.responseText, { status: xhr.status })));
    };
    xhr.send(form);
  });
}
