"use client";

import { PipelinePage } from "@/features/pipelines/PipelinePage";
import { ById } from "@/features/shell/ById";

export default function PipelineRoute() {
  return <ById>{(id) => <PipelinePage key={id} id={id} />}</ById>;
}
