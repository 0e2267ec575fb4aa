import { useSyncExternalStore } from "react";
import { address } from "@/lib/address";

const key = "project";
const listeners = new Set<() => void>();

/** The project that lists are narrowed to and new things go into; undefined: all of them. */
export const currentProject = () => localStorage.getItem(key) ?? undefined;

export function chooseProject(id: string | undefined) {
  if (id) localStorage.setItem(key, id);
  else localStorage.removeItem(key);
  // A page of one project's list is none of another's.
  history.replaceState(null, "", address({ cursor: undefined }));
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}

export const useProjectId = () => useSyncExternalStore(subscribe, currentProject, () => undefined);
