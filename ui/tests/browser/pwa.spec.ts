import { createServer, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type BrowserContext, expect, type Page, test } from "@playwright/test";
import { Platform } from "./platform";

// What makes the web app an app: it can be installed, opens without its server, and takes a new version when its user
// says so.

let platform: Platform;
let context: BrowserContext;
let tab: Page;

test.describe.configure({ mode: "serial" });

test.beforeAll(async ({ browser }) => {
  platform = await Platform.start();
  context = await browser.newContext();
  tab = await context.newPage();
  await tab.goto(await platform.link());
  await tab.getByLabel("E-mail").fill("ada@example.com");
  await tab.getByLabel("Password").fill("correct horse battery");
  await tab.getByRole("button", { name: "Make my account" }).click();
  await expect(tab.getByText("Make your first model")).toBeVisible();
  await tab.goto(`${platform.url}/datasets?upload=1`);
  const rows = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({ prompt: `What is ${i}?`, completion: `It is ${i}.` }),
  );
  await tab
    .getByLabel("Choose a file, or drop it here")
    .setInputFiles({ name: "numbers.jsonl", mimeType: "application/jsonl", buffer: Buffer.from(rows.join("\n")) });
  await expect(tab.locator("header").getByText("Ready")).toBeVisible();
});

test.afterAll(async () => {
  await context?.close();
  await platform?.remove();
});

test("it can be installed", async () => {
  await tab.goto(platform.url);
  await controlled(tab);
  const devtools = await context.newCDPSession(tab);
  const { installabilityErrors } = await devtools.send("Page.getInstallabilityErrors");
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual([]);
});

test("it opens without its server, says how old that is which it shows, and catches up by itself when it is back", async () => {
  await tab.goto(`${platform.url}/datasets`);
  await expect(tab.getByText("numbers")).toBeVisible();
  await expect.poll(() => seen(tab)).toContain("numbers");
  await platform.end();

  await tab.goto(`${platform.url}/datasets?q=`);
  await expect(tab.getByText("numbers")).toBeVisible();
  await expect(
    tab.getByText(/VibeFlow does not answer. You see what was there (a moment|\d+ minutes?) ago/),
  ).toBeVisible();
  // A page that was never opened has its frame, and says what is missing.
  await tab.getByRole("link", { name: "Evaluations" }).click();
  await expect(tab.getByRole("heading", { name: "Evaluations" })).toBeVisible();
  await expect(tab.getByRole("alert").filter({ hasText: "VibeFlow does not answer." })).toBeVisible();

  await platform.begin();
  await expect(tab.getByText("Nothing has been compared yet")).toBeVisible();
  await expect(tab.getByText("VibeFlow does not answer.", { exact: false })).toBeHidden();
});

test("a new version waits until it is wanted", async () => {
  const newer = await NewerBuild.of(platform);
  try {
    await tab.goto(newer.url);
    await controlled(tab);
    const build = await kept(tab);
    newer.out = true;
    await tab.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      await registration.update();
    });
    await expect(tab.getByText("There is a new version")).toBeVisible();
    expect(await kept(tab)).toContain(build[0]);
    const reloaded = tab.waitForEvent("load");
    await tab.getByRole("button", { name: "Reload" }).click();
    await reloaded;
    await expect.poll(() => kept(tab)).toEqual([`${build[0]}-newer`]);
    await expect(tab.getByRole("heading", { name: "Dashboard" })).toBeVisible();
  } finally {
    await newer.close();
  }
});

/** A service worker answers for the page. */
async function controlled(page: Page) {
  await page.evaluate(() => navigator.serviceWorker.ready.then(() => undefined));
  await expect.poll(() => page.evaluate(() => navigator.serviceWorker.controller?.state)).toBe("activated");
}

/** What the app keeps of the server's answers. */
const seen = (page: Page) =>
  page.evaluate(
    () =>
      new Promise<string>((done, fail) => {
        const opening = indexedDB.open("keyval-store");
        opening.onerror = fail;
        opening.onsuccess = () => {
          const reading = opening.result.transaction("keyval").objectStore("keyval").get("queries");
          reading.onerror = fail;
          reading.onsuccess = () => done(JSON.stringify(reading.result));
        };
      }),
  );

/** The builds that the browser keeps. */
const kept = (page: Page) => page.evaluate(() => caches.keys());

/** The platform at another address, with a newer build of the app once that is out. */
class NewerBuild {
  out = false;
  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async of(platform: Platform): Promise<NewerBuild> {
    const server = createServer((incoming, answer) => {
      const { "if-none-match": _known, ...asked } = incoming.headers;
      const headers = { ...asked, host: platform.address, "accept-encoding": "identity" };
      if (headers.origin) headers.origin = platform.url;
      const changed = made.out && incoming.url === "/sw.js";
      const { method, url: path } = incoming;
      const passed = request(`${platform.url}${path}`, { method, headers }, async (told) => {
        if (!changed) {
          answer.writeHead(told.statusCode ?? 502, told.headers);
          told.pipe(answer);
          return;
        }
        const { "content-length": _length, etag: _etag, ...rest } = told.headers;
        answer.writeHead(told.statusCode ?? 502, rest);
        const source = (await told.toArray()).join("");
        answer.end(source.replace(/const build = "(\w+)"/, 'const build = "$1-newer"'));
      });
      passed.on("error", () => answer.destroy());
      incoming.pipe(passed);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const made = new NewerBuild(server, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    return made;
  }

  async close() {
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }
}
