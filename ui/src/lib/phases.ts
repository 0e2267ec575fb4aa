/** The runner's long stages (docs/runner-protocol.md), in words. */
const phases: Record<string, string> = {
  held_out_loss: "Judging by the held-out rows",
  loss_base: "The base's loss on the held-out rows",
  loss_tuned: "The tuned model's loss on the held-out rows",
  answers_base: "The base's answers",
  answers_tuned: "The tuned model's answers",
};

/** A phase as one says it; one that is not known yet by its own name. */
export const phaseWords = (phase: string) =>
  phases[phase] ?? phase.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase());
