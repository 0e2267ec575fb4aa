import { useSyncExternalStore } from "react";

// Next's hooks over the page's own history, for components that keep their state in the address.

const listeners = new Set<() => void>();
const changed = () => {
  for (const listener of listeners) listener();
};
for (const method of ["pushState", "replaceState"] as const) {
  const plain = history[method].bind(history);
  history[method] = (...told) => {
    plain(...told);
    changed();
  };
}
addEventListener("popstate", changed);

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useSearchParams = () => new URLSearchParams(useSyncExternalStore(subscribe, () => location.search));
export const usePathname = () => useSyncExternalStore(subscribe, () => location.pathname);

const router = {
  push: (href: string) => history.pushState(null, "", href),
  replace: (href: string) => history.replaceState(null, "", href),
  prefetch: () => undefined,
};
export const useRouter = () => router;
