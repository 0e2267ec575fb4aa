import { Row } from "@/components/List";
import { StatusBadge } from "@/components/Status";
import { type Pipeline, pipelineHref } from "./queries";
import { StageLine } from "./StageLine";

export function PipelineRow({ pipeline, note }: { pipeline: Pipeline; note?: string }) {
  return (
    <Row href={pipelineHref(pipeline.id)} title={pipeline.name || pipeline.id} note={note} at={pipeline.created_at}>
      <StageLine pipeline={pipeline} small />
      <StatusBadge status={pipeline.status} />
    </Row>
  );
}
