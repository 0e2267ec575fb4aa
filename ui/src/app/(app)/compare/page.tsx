import { Suspense } from "react";
import { CompareJobs } from "@/features/jobs/CompareJobs";
import { PageSkeleton } from "@/features/shell/ById";

export default function ComparePage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <CompareJobs />
    </Suspense>
  );
}
