"use client";

import { Eraser } from "lucide-react";
import { useState } from "react";
import { Async } from "@/components/Async";
import { type Part, Parts } from "@/components/Bars";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Confirm } from "@/components/Dialog";
import { Skeleton } from "@/components/Skeleton";
import { toast } from "@/components/Toasts";
import { When } from "@/components/When";
import { $api, type Schemas } from "@/lib/api/client";
import { bytes, plural } from "@/lib/format";

type DiskUse = Schemas["DiskUse"];

const kinds: Record<DiskUse["kinds"][number]["kind"], { label: string; look: string }> = {
  datasets: { label: "Datasets", look: "bg-chart-1" },
  models: { label: "Your models", look: "bg-chart-2" },
  checkpoints: { label: "Checkpoints", look: "bg-chart-3" },
  exports: { label: "Exports", look: "bg-chart-4" },
  caches: { label: "Base models and the Python environment", look: "bg-chart-8" },
  databases: { label: "Databases", look: "bg-chart-5" },
  runs: { label: "Runs under way", look: "bg-chart-7" },
  logs: { label: "Logs", look: "bg-chart-6" },
  unused: { label: "Nothing needs", look: "bg-bad" },
  other: { label: "Other", look: "bg-ink-3" },
};

/** What takes room on the server's disk, and what of it can go; for owners. */
export function DiskCard() {
  const disk = $api.useQuery("get", "/api/system/disk", {}, { refetchInterval: 60_000 });
  return (
    <Card title="Disk" actions={disk.data && <Collect use={disk.data} />}>
      <Async query={disk} loading={<Skeleton className="h-40" />}>
        {(use) => (
          <div className="grid gap-4">
            <p>
              <span className="tabular font-semibold text-lg">{bytes(use.total_bytes)}</span>{" "}
              <span className="text-ink-2">
                by VibeFlow; {bytes(use.volume.free_bytes)} of {bytes(use.volume.total_bytes)} are free.
              </span>
            </p>
            <Parts label="Disk use by kind" parts={partsOf(use)} format={bytes} />
            <p className="text-ink-3 text-sm">
              Measured <When at={use.measured_at} />.
            </p>
          </div>
        )}
      </Async>
    </Card>
  );
}

const partsOf = (use: DiskUse): Part[] =>
  use.kinds.map(({ kind, bytes: value }) => ({ ...(kinds[kind] ?? { label: kind, look: "bg-ink-3" }), value }));

/** Deletes the stored files that nothing refers to. */
function Collect({ use }: { use: DiskUse }) {
  const [asking, setAsking] = useState(false);
  const collect = $api.useMutation("post", "/api/system/gc");
  const { files, bytes: size } = use.collectable;
  if (files === 0) return null;
  return (
    <>
      <Button size="sm" icon={<Eraser aria-hidden className="size-4" />} onClick={() => setAsking(true)}>
        Free {bytes(size)}
      </Button>
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title={`Delete ${plural(files, "stored file")}?`}
        action="Delete them"
        cancel="Keep them"
        danger
        busy={collect.isPending}
        onConfirm={() =>
          collect.mutate(
            {},
            {
              onSuccess: (gone) => {
                toast.good(`${bytes(gone.bytes)} are free again`);
                setAsking(false);
              },
              onError: (error) => toast.bad("Nothing was deleted", error),
            },
          )
        }
      >
        Nothing refers to them: they were left by what was interrupted, more than a day ago. No dataset, model,
        checkpoint or export goes.
      </Confirm>
    </>
  );
}
