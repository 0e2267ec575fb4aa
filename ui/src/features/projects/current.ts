import { useSyncExternalStore } from "react";

const key = "project";
const listeners = new Set<() => void>();

/** The project that lists are narrowed to and new things go into; undefined: all of them. */
export const currentProject = () => localStorage.getItem(key) ?? undefined;

export function chooseProject(id: string | undefined) {
  if (id) localStorage.setItem(key, id);
  else localStorage.removeItem(key);
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
