import { Suspense } from "react";
import { Settings } from "@/features/settings/Settings";
import { PageSkeleton } from "@/features/shell/ById";

export default function SettingsPage() {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <Settings />
    </Suspense>
  );
}
