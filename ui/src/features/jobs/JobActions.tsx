"use client";

import { Ban, Boxes, Copy, Ellipsis, GitCompareArrows, Pause, Play, SquareCheckBig, Trash2 } from "lucide-react";
import { useRouter } from "next/navigation";
import { lazy, Suspense, useState } from "react";
import { Button, ButtonLink, IconButton } from "@/components/Button";
import { Menu, type MenuEntry } from "@/components/Menu";
import { isMoving } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { deleteJob } from "@/features/life/deletions";
import { modelHref } from "@/features/models/queries";
import { $api } from "@/lib/api/client";
import type { Job } from "./queries";

// What asks is loaded when there is something to ask.
const EndDialog = lazy(() => import("./EndDialog"));
const DeleteDialog = lazy(() => import("@/features/life/Delete"));

/** What can be done with a job as it stands. */
export function JobActions({ job }: { job: Job }) {
  const router = useRouter();
  const [ending, setEnding] = useState<"cancel" | "keep" | undefined>();
  const [deleting, setDeleting] = useState(false);
  const params = { params: { path: { id: job.id } } };
  const pause = $api.useMutation("post", "/api/training/{id}/pause");
  const resume = $api.useMutation("post", "/api/training/{id}/resume");

  const open = isMoving(job.status) || job.status === "paused";
  const canPause = job.status === "running" || job.status === "queued" || (job.status === "paused" && job.goes_on);
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
  return (
    <>
      {canPause && (
        <Button
          icon={<Pause aria-hidden className="size-4" />}
          busy={pause.isPending}
          onClick={() => pause.mutate(params, { onError: (error) => toast.bad("It was not paused", error) })}
        >
          {job.goes_on ? "Stay paused" : "Pause"}
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
        {ending && <EndDialog job={job} keep={ending === "keep"} onClose={() => setEnding(undefined)} />}
      </Suspense>
    </>
  );
}
