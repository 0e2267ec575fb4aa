"use client";

import { Download, PackageOpen } from "lucide-react";
import { Async } from "@/components/Async";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { RunErrorNotice } from "@/components/Notice";
import { Progress } from "@/components/Progress";
import { isMoving, StatusBadge } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { $api, type Schemas } from "@/lib/api/client";
import { many } from "@/lib/api/lists";
import { ago, bytes } from "@/lib/format";
import { pollList } from "@/lib/poll";
import type { Model } from "./queries";

type Export = Schemas["Export"];

const formats = {
  adapter: "Adapter: small, needs its base",
  merged: "Merged: a whole model",
} as const;

/** Takes a model away: as an adapter, or merged with its base. */
export function Exports({ model }: { model: Model }) {
  const exports = $api.useQuery(
    "get",
    "/api/exports",
    { params: { query: { limit: many, model_id: model.id } } },
    { refetchInterval: pollList },
  );
  const start = $api.useMutation("post", "/api/exports");
  const make = (format: keyof typeof formats) =>
    start.mutate(
      { body: { model_id: model.id, format } },
      { onError: (error) => toast.bad("The export was not started", error) },
    );
  return (
    <Card
      title="Take it away"
      note="Files in the Hugging Face format, with a model card."
      flush
      actions={(model.method === "full" ? (["merged"] as const) : (["adapter", "merged"] as const)).map((format) => (
        <Button
          key={format}
          size="sm"
          title={formats[format]}
          busy={start.isPending && start.variables.body.format === format}
          onClick={() => make(format)}
        >
          {format === "adapter" ? "Export the adapter" : "Export merged"}
        </Button>
      ))}
    >
      <Async query={exports} loading={<div className="h-14" />}>
        {({ items }) => {
          if (items.length === 0) return <p className="px-4 pb-4 text-ink-3 sm:px-5">Nothing has been exported yet.</p>;
          return (
            <ul className="divide-y divide-line">
              {items.map((item) => (
                <ExportItem key={item.id} item={item} />
              ))}
            </ul>
          );
        }}
      </Async>
    </Card>
  );
}

function ExportItem({ item }: { item: Export }) {
  const files = item.files ?? [];
  return (
    <li className="grid gap-3 px-4 py-3 sm:px-5">
      <div className="flex items-center gap-3">
        <PackageOpen aria-hidden className="size-4 text-ink-3" />
        <span className="font-medium">{item.format === "merged" ? "Merged model" : "Adapter"}</span>
        <span className="text-ink-3 text-sm">{ago(item.created_at)}</span>
        <span className="ml-auto">
          <StatusBadge status={item.status} />
        </span>
      </div>
      {isMoving(item.status) && (
        <Progress value={item.progress?.total ? item.progress.done / item.progress.total : undefined} label="Export" />
      )}
      {item.status === "failed" && <RunErrorNotice error={item.error} title="The export failed" />}
      {files.length > 0 && (
        <ul className="grid gap-1">
          {files.map((file) => (
            <li key={file.path} className="flex items-center gap-3 text-sm">
              <a
                href={`/api/exports/${item.id}/download?file=${encodeURIComponent(file.path)}`}
                download={file.path.split("/").at(-1)}
                className="inline-flex min-h-7 min-w-0 items-center gap-2 text-accent-ink hover:underline"
              >
                <Download aria-hidden className="size-3.5 shrink-0" />
                <span className="truncate">{file.path}</span>
              </a>
              <span className="tabular ml-auto text-ink-3">{bytes(file.size)}</span>
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}
