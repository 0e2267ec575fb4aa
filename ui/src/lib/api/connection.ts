import { useSyncExternalStore } from "react";

const firstPause = 1_000;
const longestPause = 15_000;

/** Whether the server answers, told by every request that the app makes. */
class ConnectionStore {
  private online = true;
  private listeners = new Set<() => void>();
  private timer?: ReturnType<typeof setTimeout>;
  private pause = firstPause;

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  get = () => this.online;

  /** A request was answered, or not. */
  report(online: boolean) {
    if (online === this.online) return;
    this.online = online;
    this.pause = firstPause;
    clearTimeout(this.timer);
    if (!online) this.schedule();
    for (const listener of this.listeners) listener();
  }

  /** Asks now, without waiting for the next try. */
  retry = async () => {
    clearTimeout(this.timer);
    const answered = await fetch("/healthz", { cache: "no-store" }).then(
      (response) => response.ok,
      () => false,
    );
    if (answered) this.report(true);
    else if (!this.online) this.schedule();
  };

  private schedule() {
    this.timer = setTimeout(this.retry, this.pause);
    this.pause = Math.min(this.pause * 1.6, longestPause);
  }
}

export const connection = new ConnectionStore();

export const useOnline = () => useSyncExternalStore(connection.subscribe, connection.get, () => true);
