/** Forgets what the browser keeps of the API's answers, here and in the service worker. */
export async function forgetCache() {
  const { clear } = await import("idb-keyval");
  await clear().catch(() => undefined);
}
