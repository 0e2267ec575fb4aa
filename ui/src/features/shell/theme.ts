import { useSyncExternalStore } from "react";

export type ThemeChoice = "system" | "light" | "dark";

const listeners = new Set<() => void>();

function read(): ThemeChoice {
  const stored = localStorage.getItem("theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

function apply() {
  const choice = read();
  const dark = choice === "dark" || (choice === "system" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  for (const listener of listeners) listener();
}

export function setTheme(choice: ThemeChoice) {
  if (choice === "system") localStorage.removeItem("theme");
  else localStorage.setItem("theme", choice);
  apply();
}

function subscribe(listener: () => void) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  if (listeners.size === 0) system.addEventListener("change", apply);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) system.removeEventListener("change", apply);
  };
}

export const useThemeChoice = () => useSyncExternalStore(subscribe, read, () => "system" as const);

/** The theme in force; charts draw themselves anew when it changes. */
export const useTheme = () =>
  useSyncExternalStore(
    subscribe,
    () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light"),
    () => "light" as const,
  );
