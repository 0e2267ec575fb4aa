import { Suspense } from "react";
import { DatasetList } from "@/features/datasets/DatasetList";
import { PageSkeleton } from "@/features/shell/ById";

export default function DatasetListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <DatasetList />
    </Suspense>
  );
}
