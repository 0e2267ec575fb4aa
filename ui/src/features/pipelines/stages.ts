import type { Pipeline, Stage } from "./queries";

const order = ["analyze", "recommend", "confirm", "train", "evaluate", "deploy"] as const;
export type StageName = (typeof order)[number];

export const stageTitles: Record<StageName, string> = {
  analyze: "Analyze",
  recommend: "Recommend",
  confirm: "Confirm",
  train: "Train",
  evaluate: "Evaluate",
  deploy: "Deploy",
};

export type ShownStage = { name: StageName; stage?: Stage; status: string };

/** All stages in order, those to come as pending. Of an ended pipeline only those that it reached are shown. */
export function shownStages(pipeline: Pipeline): ShownStage[] {
  const over = pipeline.status === "completed" || pipeline.status === "cancelled";
  return order
    .map((name) => {
      const stage = pipeline.stages.find((s) => s.stage === name);
      return { name, stage, status: stage?.status ?? "pending" };
    })
    .filter(({ stage, name }) => stage !== undefined || (!over && !(name === "confirm" && reached(pipeline, "train"))));
}

function reached(pipeline: Pipeline, name: StageName): boolean {
  return pipeline.stages.some((stage) => stage.stage === name);
}
