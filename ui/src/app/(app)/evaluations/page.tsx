import { Suspense } from "react";
import { EvaluationList } from "@/features/evaluations/EvaluationList";
import { PageSkeleton } from "@/features/shell/ById";

export default function EvaluationListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <EvaluationList />
    </Suspense>
  );
}
