/**
 * Makes a request that was sent again, because nobody knows what became of the first, start one thing: it carries the
 * same Idempotency-Key. An answer of any kind ends the attempt; the same wish afterwards is a new one.
 */
export function idempotent(send: typeof fetch): typeof fetch {
  const open = new Map<string, string>();
  return async (input, init) => {
    const request = new Request(input, init);
    if (request.method !== "POST") return send(request);
    const wish = `${request.url}\n${await request.clone().text()}`;
    const key = open.get(wish) ?? newKey();
    open.set(wish, key);
    request.headers.set("Idempotency-Key", key);
    const response = await send(request);
    open.delete(wish);
    return response;
  };
}

/** randomUUID is not there on plain HTTP beyond loopback. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
