"use client";

import { lazy, Suspense, useSyncExternalStore } from "react";
import { asProblem } from "@/lib/api/problem";
import { sentence } from "./Notice";

type Offer = { label: string; onClick: () => void };

export type ToastOptions = {
  type: "good" | "info" | "bad";
  title: string;
  description?: string;
  timeout: number;
  priority: "low" | "high";
  actionProps?: { children: string; onClick: () => void };
};

/** Says briefly what has happened; an offer undoes it or goes on from it. */
export const toast = {
  good: (title: string, offer?: Offer) => add("good", title, undefined, offer),
  info: (title: string, description?: string, offer?: Offer, timeout?: number) =>
    add("info", title, description, offer, timeout),
  /** What could not be done, with what to do about it. */
  bad: (title: string, error: unknown) => {
    const { message, remedy } = asProblem(error);
    add("bad", title, [message, ...(remedy ? [remedy] : [])].map(sentence).join(" "), undefined, 12_000);
  },
};

function add(type: ToastOptions["type"], title: string, description?: string, offer?: Offer, timeout?: number) {
  show({
    type,
    title,
    description,
    timeout: timeout ?? (offer ? 10_000 : 5_000),
    priority: type === "bad" ? "high" : "low",
    actionProps: offer && { children: offer.label, onClick: offer.onClick },
  });
}

// Toasts wait here until what shows them has been loaded, with the first of them.
const waiting: ToastOptions[] = [];
const listeners = new Set<() => void>();
let showing: { add: (options: ToastOptions) => void } | undefined;
let wanted = false;

function show(options: ToastOptions) {
  if (showing) return showing.add(options);
  waiting.push(options);
  wanted = true;
  for (const listener of listeners) listener();
}

/** Hands over what waits, and everything after it. Returns what takes it back. */
export function connect(manager: { add: (options: ToastOptions) => void }): () => void {
  showing = manager;
  for (const options of waiting.splice(0)) manager.add(options);
  return () => {
    showing = undefined;
  };
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const ToastList = lazy(() => import("./ToastList"));

export function Toasts() {
  const needed = useSyncExternalStore(
    subscribe,
    () => wanted,
    () => false,
  );
  if (!needed) return null;
  return (
    <Suspense>
      <ToastList />
    </Suspense>
  );
}
