"use client";

import { Pencil, Tag } from "lucide-react";
import Link from "next/link";
import { lazy, Suspense, useState } from "react";
import { Button } from "@/components/Button";
import { Skeleton } from "@/components/Skeleton";
import type { Kind } from "./EditById";
import type { Said as Told } from "./edits";

const EditById = lazy(() => import("./EditById"));

type SaidProps = {
  /** How it is changed; undefined: by nobody here. */
  edit?: { kind: Kind; id: string };
  said: Told;
  /** The list that a tag narrows. */
  list: string;
};

/** What people say of a thing, its tags and notes, and where they say it. */
export function Said({ edit, said: { notes, tags = [] }, list }: SaidProps) {
  const [editing, setEditing] = useState(false);
  if (editing && edit) {
    return (
      <Suspense fallback={<Skeleton className="h-64" />}>
        <EditById {...edit} onDone={() => setEditing(false)} />
      </Suspense>
    );
  }
  const bare = !notes && tags.length === 0;
  if (bare && !edit) return null;
  return (
    <div className="-mt-3 grid gap-2">
      <div className="flex flex-wrap items-center gap-2">
        {tags.length > 0 && (
          <ul aria-label="Tags" className="flex flex-wrap gap-1.5">
            {tags.map((tag) => (
              <li key={tag}>
                <Link
                  href={`${list}?tag=${encodeURIComponent(tag)}`}
                  prefetch={false}
                  className="inline-flex h-6 max-w-60 items-center gap-1.5 rounded-full bg-sunken px-2.5 text-ink-2 text-xs hover:bg-accent-soft hover:text-accent-ink"
                >
                  <Tag aria-hidden className="size-3 shrink-0" />
                  <span className="truncate">{tag}</span>
                </Link>
              </li>
            ))}
          </ul>
        )}
        {edit && (
          <Button
            size="sm"
            variant="quiet"
            className={bare ? "-ml-2.5" : undefined}
            icon={<Pencil aria-hidden className="size-3.5" />}
            onClick={() => setEditing(true)}
          >
            {bare ? "Rename, or add notes and tags" : "Edit"}
          </Button>
        )}
      </div>
      {notes && <p className="max-w-prose whitespace-pre-wrap break-words text-ink-2">{notes}</p>}
    </div>
  );
}
