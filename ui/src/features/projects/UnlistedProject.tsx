"use client";

import { useEffect } from "react";
import { asProblem } from "@/lib/api/problem";
import { chooseProject } from "./current";
import { useProject } from "./queries";

/**
 * A chosen project that the list does not have: it may be new. One that is gone, or is somebody else's, is not stayed in:
 * nothing would be found.
 */
export default function UnlistedProject({ id }: { id: string }) {
  const { data, error } = useProject(id);
  const gone = data ? data.status === "deleted" : asProblem(error).status === 404;
  useEffect(() => {
    if (gone) chooseProject(undefined);
  }, [gone]);
  return null;
}
