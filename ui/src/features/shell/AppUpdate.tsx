"use client";

import { useEffect } from "react";
import { toast } from "@/components/Toasts";

const settled = 3_000;

/** Keeps the app for opening it offline, and offers a new version once there is one. */
export function AppUpdate() {
  useEffect(() => {
    // Developing, a kept page would hide what was just changed.
    if (!("serviceWorker" in navigator) || process.env.NODE_ENV !== "production") return;
    let reloading = false;
    const reload = () => {
      if (!reloading) location.reload();
      reloading = true;
    };
    const offer = (waiting: ServiceWorker) =>
      toast.info(
        "There is a new version",
        "It is here already; it only needs a reload.",
        {
          label: "Reload",
          onClick: () => {
            navigator.serviceWorker.addEventListener("controllerchange", reload);
            waiting.postMessage("take-over");
          },
        },
        0,
      );
    const register = () => navigator.serviceWorker.register("/sw.js", { updateViaCache: "none" }).then(watch, noWorker);
    const watch = (registration: ServiceWorkerRegistration) => {
      if (registration.waiting && navigator.serviceWorker.controller) offer(registration.waiting);
      registration.addEventListener("updatefound", () => {
        const coming = registration.installing;
        coming?.addEventListener("statechange", () => {
          if (coming.state === "installed" && navigator.serviceWorker.controller) offer(coming);
        });
      });
    };
    // Once the page is there: what is fetched for later must not hold up what is wanted now.
    const timer = setTimeout(register, settled);
    return () => clearTimeout(timer);
  }, []);
  return null;
}

/** Private windows and plain HTTP beyond loopback have none; the app works all the same, online. */
const noWorker = () => undefined;
