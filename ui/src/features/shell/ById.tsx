"use client";

import { Compass } from "lucide-react";
import { useSearchParams } from "next/navigation";
import { type ReactNode, Suspense } from "react";
import { Empty } from "@/components/Empty";
import { Skeleton, SkeletonRows } from "@/components/Skeleton";

/** The page of the resource that the address names: /job?id=job_1. */
export function ById({ children }: { children: (id: string) => ReactNode }) {
  return (
    <Suspense fallback={<PageSkeleton />}>
      <Named>{children}</Named>
    </Suspense>
  );
}

function Named({ children }: { children: (id: string) => ReactNode }) {
  const id = useSearchParams().get("id");
  if (id) return children(id);
  return (
    <Empty icon={Compass} title="The address names nothing">
      It should end in ?id= and an id.
    </Empty>
  );
}

/** A page that is still being asked for. */
export function PageSkeleton() {
  return (
    <div className="mx-auto w-full max-w-6xl px-4 pt-5 sm:px-8 sm:pt-8">
      <Skeleton className="mb-8 h-8 w-64" />
      <div className="rounded-lg border border-line bg-surface">
        <SkeletonRows />
      </div>
    </div>
  );
}
