"use client";

import { Confirm } from "@/components/Dialog";
import { toast } from "@/components/Toasts";
import { $api } from "@/lib/api/client";
import type { Job } from "./queries";

type EndDialogProps = {
  job: Job;
  /** A model is made of what was learnt. */
  keep: boolean;
  onClose: () => void;
};

/** Ends a training, after saying what of it stays. */
export default function EndDialog({ job, keep, onClose }: EndDialogProps) {
  const cancel = $api.useMutation("post", "/api/training/{id}/cancel");
  const end = () =>
    cancel.mutate(
      { params: { path: { id: job.id } }, body: { keep } },
      { onSuccess: onClose, onError: (error) => toast.bad("It was not ended", error) },
    );
  return (
    <Confirm
      open
      onClose={onClose}
      title={keep ? `Stop ${job.name} and keep what it learnt?` : `Cancel ${job.name}?`}
      action={keep ? "Stop and keep" : "Cancel the training"}
      cancel="Let it go on"
      danger={!keep}
      busy={cancel.isPending}
      onConfirm={end}
    >
      {keep
        ? job.checkpoint_step
          ? `A model is made from the checkpoint at step ${job.checkpoint_step}. The training cannot go on afterwards.`
          : "No checkpoint was saved yet. If none is by then, nothing can be kept."
        : job.step > 0
          ? `It has trained ${job.step} of ${job.total_steps} steps. They are lost, and so are its checkpoints.`
          : "It has not trained a step yet, so that nothing is lost."}
    </Confirm>
  );
}
