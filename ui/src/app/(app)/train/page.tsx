import { Suspense } from "react";
import { TrainForm } from "@/features/jobs/TrainForm";
import { PageSkeleton } from "@/features/shell/ById";

export default function TrainFormPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <TrainForm />
    </Suspense>
  );
}
