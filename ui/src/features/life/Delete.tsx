"use client";

import { useMutation, useQuery } from "@tanstack/react-query";
import { Trash2 } from "lucide-react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { IconButton } from "@/components/Button";
import { Confirm } from "@/components/Dialog";
import { ErrorNotice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import type { Schemas } from "@/lib/api/client";
import { bytes, plural } from "@/lib/format";

type Deletion = Schemas["Deletion"];

type DeleteProps = {
  /** What it is called. */
  name: string;
  /** Deletes, or only tells what would go. */
  remove: (preview: boolean) => Promise<Deletion>;
  /** Where to go afterwards. */
  back: string;
};

/** Deletes what a page is about, after saying what goes with it. */
export function DeleteButton(props: DeleteProps) {
  const [asking, setAsking] = useState(false);
  return (
    <>
      <IconButton
        label={`Delete ${props.name}`}
        className="border border-line bg-surface"
        onClick={() => setAsking(true)}
      >
        <Trash2 aria-hidden className="size-4" />
      </IconButton>
      {asking && <DeleteDialog {...props} onClose={() => setAsking(false)} />}
    </>
  );
}

export default function DeleteDialog({ name, remove, back, onClose }: DeleteProps & { onClose: () => void }) {
  const router = useRouter();
  const deletion = useMutation({
    mutationFn: () => remove(false),
    onSuccess: () => {
      toast.good(`${name} was deleted`);
      router.push(back);
    },
  });
  const preview = useQuery({
    queryKey: ["deletion", name, back],
    queryFn: () => remove(true),
    // What is gone tells no more what would go with it.
    enabled: deletion.isIdle,
    gcTime: 0,
    retry: false,
  });
  const error = deletion.error ?? preview.error;
  return (
    <Confirm
      open
      onClose={onClose}
      title={`Delete ${name}?`}
      action="Delete it"
      cancel={preview.error ? "Close" : undefined}
      danger
      busy={deletion.isPending}
      disabled={!preview.data}
      onConfirm={() => deletion.mutate()}
    >
      {error ? (
        <ErrorNotice error={error} />
      ) : (
        <p className="min-h-12">{preview.data ? consequences(preview.data) : "Looking at what goes with it …"}</p>
      )}
    </Confirm>
  );
}

const nouns: Record<string, string> = { job: "training" };

function consequences({ also, files, bytes: size }: Deletion): string {
  const counts = new Map<string, number>();
  for (const { kind } of also) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const things = [...counts].map(([kind, n]) => plural(n, nouns[kind] ?? kind));
  const withIt =
    things.length > 0
      ? `With it ${also.length === 1 ? "goes" : "go"} ${new Intl.ListFormat("en").format(things)}. `
      : "";
  const room =
    files > 0 ? `${plural(files, "stored file")}, ${bytes(size)}, ${files === 1 ? "is" : "are"} freed. ` : "";
  return `${withIt}${room}This cannot be undone.`;
}
