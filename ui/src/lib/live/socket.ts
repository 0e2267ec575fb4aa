import { Problem } from "../api/problem";
import { sessionFetch } from "../api/session";
import type { LiveEvent, Transport } from "./follow";

/** GET {path}/stream, a WebSocket: it does not count against the few connections that a browser keeps to one host. */
export const webSocket: Transport = (path, after, on, signal) =>
  new Promise((resolve, reject) => {
    const url = new URL(`${path}/stream?after=${after}`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    const close = () => socket.close();
    signal.addEventListener("abort", close);
    let opened = false;
    socket.onopen = () => {
      opened = true;
      on.open();
    };
    socket.onmessage = ({ data }) => {
      try {
        on.event(JSON.parse(data as string) as LiveEvent);
      } catch (error) {
        reject(error);
        socket.close();
      }
    };
    socket.onclose = () => {
      signal.removeEventListener("abort", close);
      if (opened || signal.aborted) resolve(false);
      else whyRefused(path).then(() => resolve(false), reject);
    };
  });

/** A refused WebSocket has no status: the resource itself tells whether it is gone, or the session is over. */
async function whyRefused(path: string): Promise<void> {
  const response = await sessionFetch(path);
  if (!response.ok) throw await Problem.of(response);
}
