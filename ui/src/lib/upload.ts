import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { api } from "@/lib/api/client";
import { connection } from "@/lib/api/connection";
import { newKey } from "@/lib/api/idempotency";
import { Problem } from "@/lib/api/problem";

/** What is sent, and what to call it meanwhile; size in bytes. Sent again, it makes one thing: its key says that it is the same. */
export type Parcel = { label: string; size: number; form: FormData; key?: string };

export type UploadState =
  | { phase: "idle" }
  | { phase: "sending"; label: string; sent: number; total: number; startedAt: number }
  | { phase: "failed"; parcel: Parcel; problem: Problem };

/** Sends a form with progress; cancel leaves nothing behind on the server. */
export function useUpload<T>(path: string, onDone: (made: T) => void) {
  const [state, setState] = useState<UploadState>({ phase: "idle" });
  const request = useRef<XMLHttpRequest>(undefined);
  const client = useQueryClient();
  useEffect(() => () => request.current?.abort(), []);

  const start = async (parcel: Parcel) => {
    const { label, size } = parcel;
    const startedAt = Date.now();
    setState({ phase: "sending", label, sent: 0, total: size, startedAt });
    try {
      // Renews a session that has run out, which an upload under way could not.
      await api.GET("/api/me");
      const xhr = new XMLHttpRequest();
      request.current = xhr;
      parcel.key ??= newKey();
      const made = await send<T>(xhr, path, parcel, (sent, total) =>
        setState({ phase: "sending", label, sent, total, startedAt }),
      );
      setState({ phase: "idle" });
      void client.invalidateQueries();
      onDone(made);
    } catch (error) {
      if (error === cancelled) setState({ phase: "idle" });
      else setState({ phase: "failed", parcel, problem: error instanceof Problem ? error : Problem.unreachable() });
    }
  };
  return { state, start, cancel: () => request.current?.abort(), dismiss: () => setState({ phase: "idle" }) };
}

const cancelled = Symbol("cancelled");

/** fetch cannot tell how much of a body was sent; XMLHttpRequest can. */
function send<T>(
  xhr: XMLHttpRequest,
  path: string,
  { form, key }: Parcel,
  onProgress: (sent: number, total: number) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    xhr.open("POST", path);
    xhr.setRequestHeader("Idempotency-Key", key!);
    xhr.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
    xhr.onabort = () => reject(cancelled);
    xhr.onerror = () => {
      connection.report(false);
      reject(Problem.unreachable());
    };
    xhr.onload = async () => {
      if (xhr.status === 201) return resolve(JSON.parse(xhr.responseText) as T);
      reject(await Problem.of(new Response(xhr.responseText, { status: xhr.status })));
    };
    xhr.send(form);
  });
}
