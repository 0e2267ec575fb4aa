import { Suspense } from "react";
import { ModelList } from "@/features/models/ModelList";
import { PageSkeleton } from "@/features/shell/ById";

export default function ModelListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <ModelList />
    </Suspense>
  );
}
