"use client";

import { useEffect } from "react";
import { toast } from "@/components/Toasts";

const settled = 3_000;

/** Keeps the app for opening it offline, and offers a new version once there is one. */
export function AppUpdate() {
  useEffect(() => {
    // Developing, a kept page would hide what was just changed.
    if (!("serviceWorker" in navigator) || process.env.NODE_ENV !== "production") return;
    const gone = new AbortController();
    // Once the page is there: what is fetched for later must not hold up what is wanted now.
    const timer = setTimeout(() => keep(gone.signal), settled);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, []);
  return null;
}

async function keep(signal: AbortSignal) {
  const { serviceWorker } = navigator;
  const updating = serviceWorker.controller !== null;
  const registration = await serviceWorker.register("/sw.js", { updateViaCache: "none" }).catch(noWorker);
  if (!registration || signal.aborted) return;
  let accepted = false;
  const offer = (waiting: ServiceWorker) =>
    offerReload("There is a new version", "It is here already; it only needs a reload.", () => {
      accepted = true;
      waiting.postMessage("take-over");
    });
  if (registration.waiting && updating) offer(registration.waiting);
  registration.addEventListener(
    "updatefound",
    () => {
      const coming = registration.installing;
      coming?.addEventListener("statechange", () => {
        if (coming.state === "installed" && serviceWorker.controller) offer(coming);
      });
    },
    { signal },
  );
  serviceWorker.addEventListener(
    "controllerchange",
    () => {
      if (accepted) location.reload();
      else if (updating)
        offerReload("VibeFlow was updated", "In another window; this one needs a reload.", () => location.reload());
    },
    { signal },
  );
  // A browser looks by itself when a page is opened; an app may stay open for weeks.
  document.addEventListener(
    "visibilitychange",
    () => {
      if (document.visibilityState === "visible") registration.update().catch(noWorker);
    },
    { signal },
  );
}

/** Stays until it is answered: a reload loses what somebody has typed. */
const offerReload = (title: string, why: string, onClick: () => void) =>
  toast.info(title, why, { label: "Reload", onClick }, 0);

/** Private windows and plain HTTP beyond loopback have none; the app works all the same, online. */
const noWorker = () => undefined;
