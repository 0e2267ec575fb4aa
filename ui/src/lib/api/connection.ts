import { useSyncExternalStore } from "react";

/** Whether the server answers, told by every request that the app makes. */
export type Connection = { online: boolean; since: number };

const firstPause = 1_000;
const longestPause = 15_000;

class ConnectionStore {
  private state: Connection = { online: true, since: 0 };
  private listeners = new Set<() => void>();
  private timer?: ReturnType<typeof setTimeout>;
  private pause = firstPause;

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  get = () => this.state;

  /** A request was answered, or not. */
  report(online: boolean) {
    if (online === this.state.online) return;
    this.state = { online, since: Date.now() };
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
    else if (!this.state.online) this.schedule();
  };

  private schedule() {
    this.timer = setTimeout(this.retry, this.pause);
    this.pause = Math.min(this.pause * 1.6, longestPause);
  }
}

export const connection = new ConnectionStore();

const initially: Connection = { online: true, since: 0 };

export function useConnection(): Connection {
  return useSyncExternalStore(connection.subscribe, connection.get, () => initially);
}
