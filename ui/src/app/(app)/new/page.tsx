import { Suspense } from "react";
import { NewModel } from "@/features/pipelines/NewModel";
import { PageSkeleton } from "@/features/shell/ById";

export default function NewModelPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <NewModel />
    </Suspense>
  );
}
