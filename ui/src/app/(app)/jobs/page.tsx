import { Suspense } from "react";
import { JobList } from "@/features/jobs/JobList";
import { PageSkeleton } from "@/features/shell/ById";

export default function JobListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <JobList />
    </Suspense>
  );
}
