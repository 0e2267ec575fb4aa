// What `go run ./bench/ui` measures in a browser; it prints one JSON object. It is told the address, a sign-in link and
// the ids of a dataset, a training and a model by its environment. It says what it is at on standard error, and a measure
// that is not done in its time ends it with that: a page that never comes to rest must not look like a slow one.
import { createRequire } from "node:module";

const { chromium } = createRequire(new URL("../../ui/package.json", import.meta.url))("@playwright/test");

const { BENCH_URL: url, BENCH_LINK: link, BENCH_DATASET: dataset, BENCH_JOB: job, BENCH_MODEL: model } = process.env;
const rounds = Number(process.env.BENCH_ROUNDS ?? 7);
const points = Number(process.env.BENCH_POINTS ?? 100_000);
const seconds = Number(process.env.BENCH_SECONDS ?? 10);

const eventsASecond = 50;
const slow = { latency: 150, downloadThroughput: 1_600_000 / 8, uploadThroughput: 750_000 / 8, offline: false };
const slowdown = 4;
/** Seconds for one step of a measure, on a busy machine. */
const patience = 60;

const browser = await within(patience, "the browser starts", () =>
  chromium.launch({
    executablePath: process.env.VIBEFLOW_CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
  }),
);
const storageState = await within(patience, "signing in", signIn);
const told = {
  paint: await paints(),
  stream: await within(patience + seconds, "stream: the curve grows", stream),
  script: await scripts(),
};
console.log(JSON.stringify(told));
await within(patience, "the browser ends", () => browser.close());

/** Does one step, and ends everything with the step's name when it fails or is not done in so many seconds. */
async function within(limit, what, work) {
  const began = performance.now();
  let timer;
  try {
    const late = new Promise((_, fail) => {
      timer = setTimeout(() => fail(new Error(`not done within ${limit} s`)), limit * 1000);
    });
    const result = await Promise.race([work(), late]);
    console.error(`${what}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
    return result;
  } catch (error) {
    console.error(`${what}: ${error.message}`);
    // The browser, and what it still waits for, ends with this process.
    process.exit(1);
  } finally {
    clearTimeout(timer);
  }
}
async function signIn() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(link);
  await page.waitForURL((at) => !at.pathname.startsWith("/signin"));
  const state = await context.storageState();
  await context.close();
  return state;
}

/** A page as on a first visit: nothing kept, no service worker. */
async function visit() {
  const context = await browser.newContext({
    storageState,
    serviceWorkers: "block",
    viewport: { width: 1280, height: 800 },
  });
  const page = await context.newPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Network.enable");
  await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
  return { context, page, devtools };
}

/** Each round's largest contentful paint of the dashboard, what moved after it, and when all of its data was there. */
async function paints() {
  const measured = [];
  for (let round = 1; round <= rounds; round++)
    measured.push(await within(patience, `paint ${round} of ${rounds}`, paint));
  return measured;
}

async function paint() {
  const { context, page, devtools } = await visit();
  await devtools.send("Network.emulateNetworkConditions", slow);
  await devtools.send("Emulation.setCPUThrottlingRate", { rate: slowdown });
  await page.addInitScript(() => {
    globalThis.seen = { lcp: 0, fcp: 0, shift: 0, what: "" };
    const on = (type, take) =>
      new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type, buffered: true });
    on("largest-contentful-paint", (entry) => {
      seen.lcp = entry.startTime;
      seen.what = entry.element?.textContent?.slice(0, 40) ?? "";
    });
    on("paint", (entry) => {
      if (entry.name === "first-contentful-paint") seen.fcp = entry.startTime;
    });
    on("layout-shift", (entry) => {
      if (!entry.hadRecentInput) seen.shift += entry.value;
    });
  });
  await page.goto(url, { waitUntil: "load" });
  await page.locator("[aria-label=Loading]").first().waitFor({ state: "detached" });
  const filled = await page.evaluate(() => performance.now());
  await page.waitForLoadState("networkidle");
  const told = await page.evaluate(() => seen);
  await context.close();
  return { ...told, filled };
}

/** How a job's page draws a long curve that goes on growing: the times between frames. */
async function stream() {
  const { context, page } = await visit();
  const told = await (await context.request.get(`${url}/api/training/${job}`)).json();
  const at = (step) => ({ step, epoch: 0, loss: 2 + Math.sin(step / 900) + 0.3 * Math.sin(step * 12.9898), learning_rate: 1e-4, grad_norm: 1, tokens_per_second: 900 });
  const json = (body) => ({ json: body });
  const path = (end) => new RegExp(`/api/training/${job}${end}$`);
  const running = { ...told, status: "running", step: points, total_steps: 2 * points, last_seq: points };
  await page.route(path(""), (route) => route.fulfill(json(running)));
  await page.route(path("/checkpoints"), (route) => route.fulfill(json({ items: [] })));
  await page.route(path("/metrics\\?.*"), (route) =>
    route.fulfill(json({ points: Array.from({ length: points }, (_, i) => at(i + 1)) })),
  );
  let sent = 0;
  let timer;
  await page.routeWebSocket(/\/stream\?/, (socket) => {
    clearInterval(timer);
    timer = setInterval(() => {
      sent++;
      const seq = points + sent;
      const payload = { ...at(seq), eta_seconds: 100 };
      socket.send(JSON.stringify({ stream: `job/${job}`, seq, type: "runner.metrics", at: new Date().toISOString(), payload }));
    }, 1000 / eventsASecond);
  });
  await page.goto(`${url}/job?id=${job}`);
  await page.locator(".uplot canvas").first().waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.waitForTimeout(2_000);
  const before = sent;
  const frames = await page.evaluate(
    (millis) =>
      new Promise((done) => {
        const gaps = [];
        let long = 0;
        const tasks = new PerformanceObserver((list) => {
          long += list.getEntries().length;
        });
        tasks.observe({ type: "longtask" });
        const began = performance.now();
        let last = began;
        const frame = (now) => {
          gaps.push(now - last);
          last = now;
          if (now - began < millis) requestAnimationFrame(frame);
          else done({ gaps: gaps.slice(1), seconds: (now - began) / 1000, long });
        };
        requestAnimationFrame(frame);
      }),
    seconds * 1000,
  );
  const step = await page.getByText(/step [\d,]+ of/).textContent();
  // A context that closes tells its sockets nothing; the timer alone would keep this process from ending.
  clearInterval(timer);
  await context.close();
  const gaps = frames.gaps.sort((a, b) => a - b);
  return {
    fps: gaps.length / frames.seconds,
    p99: gaps[Math.floor(gaps.length * 0.99)],
    longest: gaps.at(-1),
    longTasks: frames.long,
    events: (sent - before) / frames.seconds,
    step,
  };
}

/** Compressed bytes of script that each page loads by itself. */
async function scripts() {
  const pages = [
    "/", "/new", "/pipelines", "/datasets", `/dataset?id=${dataset}`, "/jobs", `/job?id=${job}`, `/train?from=${job}`,
    `/compare?id=${job}&with=${job}`, "/evaluations", "/models", `/model?id=${model}`, "/deployments", "/keys", "/projects", "/settings",
  ];
  const sizes = {};
  for (const path of pages)
    sizes[path.replace(/\?.*/, "")] = await within(patience, `script of ${path}`, () => script(path));
  return sizes;
}

async function script(path) {
  const { context, page, devtools } = await visit();
  await page.setExtraHTTPHeaders({ "Accept-Encoding": "gzip" });
  let bytes = 0;
  devtools.on("Network.responseReceived", ({ type, response }) => {
    if (type === "Script") bytes += Number(response.headers["Content-Length"] ?? response.headers["content-length"] ?? 0);
  });
  await page.goto(url + path);
  await page.waitForLoadState("networkidle");
  await context.close();
  return bytes;
}
