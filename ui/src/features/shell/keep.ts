import { toast } from "@/components/Toasts";

/** Keeps the app for opening it offline until the signal says that it is over. */
export async function keep(signal: AbortSignal) {
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
