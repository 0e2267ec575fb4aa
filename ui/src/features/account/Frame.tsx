import type { ReactNode } from "react";
import { Mark } from "@/features/shell/Logo";

/** A page outside the app: signing in, and what leads there. */
export function Frame({ title, note, children }: { title: string; note?: ReactNode; children: ReactNode }) {
  return (
    <main className="flex min-h-dvh flex-col items-center justify-center px-4 py-10">
      <div className="w-full max-w-sm">
        <Mark className="mb-6 size-10" />
        <h1 className="text-2xl">{title}</h1>
        {note && <div className="mt-2 text-ink-2">{note}</div>}
        <div className="mt-6">{children}</div>
      </div>
    </main>
  );
}
