"use client";

import { Ban, Boxes, Copy, Ellipsis, GitCompareArrows, Pause, Play, SquareCheckBig, Trash2 } from "lucide-react";
import { useRouter } from "next/navigation";
import { lazy, Suspense, useState } from "react";
import { Button, ButtonLink, IconButton } from "@/components/Button";
import { Confirm } from "@/components/Dialog";
import { Menu, type MenuEntry } from "@/components/Menu";
import { isMoving } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { deleteJob } from "@/features/life/deletions";
import { modelHref } from "@/features/models/queries";
import { $api } from "@/lib/api/client";
import type { Job } from "./queries";

const DeleteDialog = lazy(() =>
  import("@/features/life/Delete").then(({ DeleteDialog }) => ({ default: DeleteDialog })),
);

/** What can be done with a job as it stands. */
export function JobActions({ job }: { job: Job }) {
  const router = useRouter();
  const [ending, setEnding] = useState<"cancel" | "keep" | undefined>();
  const [deleting, setDeleting] = useState(false);
  const params = { params: { path: { id: job.id } } };
  const pause = $api.useMutation("post", "/api/training/{id}/pause");
  const resume = $api.useMutation("post", "/api/training/{id}/resume");
  const cancel = $api.useMutation("post", "/api/training/{id}/cancel");

  const open = isMoving(job.status) || job.status === "paused";
  const canPause = job.status === "running" || job.status === "queued";
  const canEnd = open && job.status !== "cancelling" && job.status !== "stopping";
  const entries: (MenuEntry | "line")[] = [
    {
      label: "Train again with changes",
      icon: <Copy aria-hidden className="size-4" />,
      onSelect: () => router.push(`/train?from=${job.id}`),
    },
    {
      label: "Compare with another",
      icon: <GitCompareArrows aria-hidden className="size-4" />,
      onSelect: () => router.push(`/compare?id=${job.id}`),
    },
  ];
  if (canEnd) {
    entries.unshift(
      {
        label: "Stop and keep",
        note: "Makes a model from the last checkpoint",
        icon: <SquareCheckBig aria-hidden className="size-4" />,
        onSelect: () => setEnding("keep"),
      },
      {
        label: "Cancel",
        note: "Nothing is kept",
        icon: <Ban aria-hidden className="size-4" />,
        danger: true,
        onSelect: () => setEnding("cancel"),
      },
    );
  }
  if (!open) {
    entries.push("line", {
      label: "Delete",
      icon: <Trash2 aria-hidden className="size-4" />,
      danger: true,
      onSelect: () => setDeleting(true),
    });
  }
  const end = () =>
    cancel.mutate(
      { ...params, body: { keep: ending === "keep" } },
      { onSuccess: () => setEnding(undefined), onError: (error) => toast.bad("It was not ended", error) },
    );
  return (
    <>
      {canPause && (
        <Button
          icon={<Pause aria-hidden className="size-4" />}
          busy={pause.isPending}
          onClick={() => pause.mutate(params, { onError: (error) => toast.bad("It was not paused", error) })}
        >
          Pause
        </Button>
      )}
      {job.status === "paused" && (
        <Button
          variant="primary"
          icon={<Play aria-hidden className="size-4" />}
          busy={resume.isPending}
          onClick={() => resume.mutate(params, { onError: (error) => toast.bad("It was not resumed", error) })}
        >
          Resume
        </Button>
      )}
      {job.tuned_model_id && (
        <ButtonLink
          href={modelHref(job.tuned_model_id)}
          variant="primary"
          icon={<Boxes aria-hidden className="size-4" />}
        >
          Its model
        </ButtonLink>
      )}
      <Menu
        trigger={
          <IconButton label="More" className="border border-line bg-surface">
            <Ellipsis aria-hidden className="size-4" />
          </IconButton>
        }
        entries={entries}
      />
      <Suspense>
        {deleting && (
          <DeleteDialog
            name={job.name || job.id}
            remove={deleteJob(job.id)}
            back="/jobs"
            onClose={() => setDeleting(false)}
          />
        )}
      </Suspense>
      <Confirm
        open={ending !== undefined}
        onClose={() => setEnding(undefined)}
        title={ending === "keep" ? `Stop ${job.name} and keep what it learnt?` : `Cancel ${job.name}?`}
        action={ending === "keep" ? "Stop and keep" : "Cancel the training"}
        cancel="Let it go on"
        danger={ending === "cancel"}
        busy={cancel.isPending}
        onConfirm={end}
      >
        {ending === "keep"
          ? job.checkpoint_step
            ? `A model is made from the checkpoint at step ${job.checkpoint_step}. The training cannot go on afterwards.`
            : "No checkpoint was saved yet. If none is by then, nothing can be kept."
          : `It has trained ${job.step} of ${job.total_steps} steps. They are lost, and so are its checkpoints.`}
      </Confirm>
    </>
  );
}
