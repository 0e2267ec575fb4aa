import { Row } from "@/components/List";
import { StatusBadge } from "@/components/Status";
import { ago } from "@/lib/format";
import { type Pipeline, pipelineHref } from "./queries";
import { StageLine } from "./StageLine";

export function PipelineRow({ pipeline }: { pipeline: Pipeline }) {
  return (
    <Row href={pipelineHref(pipeline.id)} title={pipeline.name || pipeline.id} note={ago(pipeline.created_at)}>
      <StageLine pipeline={pipeline} small />
      <StatusBadge status={pipeline.status} />
    </Row>
  );
}
