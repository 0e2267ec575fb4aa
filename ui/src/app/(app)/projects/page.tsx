import { Suspense } from "react";
import { ProjectList } from "@/features/projects/ProjectList";
import { PageSkeleton } from "@/features/shell/ById";

export default function ProjectsPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <ProjectList />
    </Suspense>
  );
}
