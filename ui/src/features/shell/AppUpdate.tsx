"use client";

import { useEffect } from "react";

const settled = 3_000;

/** Keeps the app for opening it offline, and offers a new version once there is one. */
export function AppUpdate() {
  useEffect(() => {
    // Developing, a kept page would hide what was just changed.
    if (!("serviceWorker" in navigator) || process.env.NODE_ENV !== "production") return;
    const gone = new AbortController();
    // Once the page is there: what is fetched for later must not hold up what is wanted now.
    const timer = setTimeout(() => import("./keep").then(({ keep }) => keep(gone.signal), offline), settled);
    return () => {
      clearTimeout(timer);
      gone.abort();
    };
  }, []);
  return null;
}

/** Without its server there is nothing newer to be had. */
const offline = () => undefined;
