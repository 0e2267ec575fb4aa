"use client";

import { useRouter } from "next/navigation";
import { useEffect } from "react";
import { onSignedOut } from "@/lib/api/session";

/** Goes to the sign-in page when the session is over, and remembers the way back. */
export function SessionGuard() {
  const router = useRouter();
  useEffect(
    () =>
      onSignedOut(() => {
        const here = location.pathname + location.search;
        router.replace(here === "/" ? "/login" : `/login?return=${encodeURIComponent(here)}`);
      }),
    [router],
  );
  return null;
}
