import { Suspense } from "react";
import { KeyList } from "@/features/keys/KeyList";
import { PageSkeleton } from "@/features/shell/ById";

export default function KeyListPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <KeyList />
    </Suspense>
  );
}
