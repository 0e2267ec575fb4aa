import { Suspense } from "react";
import { PipelineList } from "@/features/pipelines/PipelineList";
import { PageSkeleton } from "@/features/shell/ById";

export default function PipelineListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <PipelineList />
    </Suspense>
  );
}
