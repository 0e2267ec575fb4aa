// The service worker: the app opens without its server, with pages and data as they were last seen. `scripts/pack.mjs`
// writes the build's name and files in. Data is not here: the app keeps what it was answered itself (lib/persist.ts).
const build = "BUILD";
const files = FILES;
const cacheName = `app-${build}`;

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(cacheName).then((cache) => fill(cache)));
});

/** Takes over from the build before what has the same name: names carry a hash. */
async function fill(cache) {
  await Promise.all(
    files.map(async (path) => {
      const kept = path.startsWith("/_next/static/") ? await caches.match(path) : undefined;
      await cache.put(path, kept ?? (await whole(path)));
    }),
  );
}

/** A build of which a file is missing is not installed; the browser tries again. */
async function whole(path) {
  const response = await fetch(path, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter((name) => name !== cacheName).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

// A new build waits until its user says so: a page must not lose its chunks under its feet.
self.addEventListener("message", ({ data }) => {
  if (data === "take-over") self.skipWaiting();
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  const file = fileFor(request, url.pathname);
  if (file) event.respondWith(answer(request, file));
});

/** The build's file that answers a path; undefined: the server's alone. */
function fileFor(request, path) {
  if (/^\/(api|v1|internal|temporal|metrics|healthz|readyz)(\/|$)/.test(path)) return undefined;
  if (request.mode === "navigate") {
    const name = path.replace(/\/$/, "") || "/index";
    const page = `${name}.html`;
    return files.includes(page) ? page : "/404.html";
  }
  return files.includes(path) ? path : undefined;
}

async function answer(request, file) {
  const cache = await caches.open(cacheName);
  return (await cache.match(file)) ?? fetch(request);
}
