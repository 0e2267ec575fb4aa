import { Suspense } from "react";
import { DeploymentList } from "@/features/deployments/DeploymentList";
import { PageSkeleton } from "@/features/shell/ById";

export default function DeploymentListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <DeploymentList />
    </Suspense>
  );
}
