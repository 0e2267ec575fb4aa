import { readFile } from "node:fs/promises";
import { type BrowserContext, expect, type Page, test } from "@playwright/test";
import { violations } from "./axe";
import { Platform } from "./platform";

// The main job, in the browser only: from the first link to an answer, with kills in the middle; then every screen, looked
// at by axe in both themes, at a desk and on a phone.

const steps = 200;
/** How long a machine that does much else may take to import PyTorch. */
const slowly = 240_000;
const account = { email: "ada@example.com", password: "correct horse battery" };

let platform: Platform;
let context: BrowserContext;
let page: Page;
/** What the browser complained about: the content security policy, errors of scripts. */
const complaints: string[] = [];
const ids: Record<string, string> = {};

test.describe.configure({ mode: "serial" });

test.beforeAll(async ({ browser }) => {
  platform = await Platform.start();
  context = await browser.newContext({ acceptDownloads: true });
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy|Minified React error|hydrat/i.test(message.text())) complaints.push(message.text());
  });
});

test.afterAll(async () => {
  await context?.close();
  await platform?.remove();
});

test.afterEach(() => {
  expect(complaints).toEqual([]);
});

test("the first link leads to an account, and the account to the dashboard", async () => {
  await page.goto(await platform.link());
  await expect(page.getByRole("heading", { name: "Welcome to VibeFlow" })).toBeVisible();
  expect(page.url()).not.toContain("#");
  await page.getByLabel("E-mail").fill(account.email);
  await page.getByLabel("Password").fill(account.password);
  await page.getByRole("button", { name: "Make my account" }).click();
  await expect(page.getByText("Make your first model")).toBeVisible();
});

test("signing out and in comes back to where one was", async () => {
  await page.getByRole("button", { name: account.email }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.goto(`${platform.url}/datasets?upload=1`);
  await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await page.getByLabel("E-mail").fill(account.email);
  await page.getByLabel("Password").fill("not the password");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert").filter({ hasText: /./ })).toBeVisible();
  await page.getByLabel("Password").fill(account.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: "Upload a dataset" })).toBeVisible();
  await page.getByRole("button", { name: "Close" }).click();
});

test("a file whose columns nobody could guess is understood once it is said what they mean", async () => {
  await page.getByRole("button", { name: "Upload", exact: true }).click();
  await page
    .getByLabel("Choose a file, or drop it here")
    .setInputFiles({ name: "tickets.csv", mimeType: "text/csv", buffer: Buffer.from(tickets()) });
  await expect(page.getByText("Say what its columns mean")).toBeVisible();
  await expect(page.getByLabel("Question", { exact: true })).toHaveValue("Frage des Kunden");
  await page.getByLabel("Answer to learn").selectOption("Antwort");
  await page.getByRole("button", { name: "Read again with these" }).click();
  await expect(page.locator("header").getByText("Ready")).toBeVisible();
  ids.dataset = await idOf(page, "dataset");
  await page.getByRole("tab", { name: "Rows" }).click();
  await expect(page.getByText("Wie geht Schritt", { exact: false }).first()).toBeVisible();
});

test("a file becomes a model, though its server, worker and runner are killed on the way, and the page needs no help", async () => {
  await page.getByRole("link", { name: "New model" }).first().click();
  await page
    .getByLabel("Choose a file, or drop it here")
    .setInputFiles({ name: "sums.jsonl", mimeType: "application/jsonl", buffer: Buffer.from(sums()) });
  await expect(page.getByText("500 rows to train on, 100 held out")).toBeVisible();
  await page.getByLabel("Model", { exact: true }).selectOption("tiny-llama");
  await page.getByLabel("Name").fill("Sums");
  await page.getByRole("button", { name: "Start", exact: true }).click();

  await page.getByRole("button", { name: "Change something" }).click();
  await page.getByText("More", { exact: true }).click();
  await page.getByLabel("Stop after").fill(String(steps));
  await page.getByLabel("Save every").fill("20");
  await page.getByLabel("Judge every").fill("50");
  await page.getByLabel("Longest row").fill("64");
  await page.getByLabel("Rows at a time").fill("4");
  await page.getByLabel("Times a step").fill("1");
  await page.getByRole("button", { name: "Train it like this" }).click();
  ids.pipeline = await idOf(page, "pipeline");

  await page.getByRole("link", { name: "Watch it" }).click();
  ids.job = await idOf(page, "job");
  await expect(page.getByText(/step \d+ of 200/)).toBeVisible({ timeout: slowly });
  await expect(page.getByText("Live", { exact: true })).toBeVisible();

  await platform.kill("server");
  await expect(page.getByText("Not live.", { exact: false })).toBeVisible();
  await expect(page.getByText("Live", { exact: true })).toBeVisible();
  await killRunner();
  await platform.kill("worker");

  await expect(page.getByText(`step ${steps} of ${steps}`)).toBeVisible({ timeout: slowly });
  await expect(page.getByRole("link", { name: "Its model" })).toBeVisible();
});

test("the curve has every step once, whatever was killed", async () => {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "CSV" }).click(),
  ]);
  const lines = (await readFile((await download.path())!, "utf8")).trim().split("\r\n");
  expect(lines[0]).toBe("step,loss,eval_loss,learning_rate,grad_norm,tokens_per_second");
  const told = lines.slice(1).map((line) => line.split(","));
  expect(told.map(([step]) => Number(step))).toEqual(Array.from({ length: steps }, (_, i) => i + 1));
  expect(told.every(([, loss]) => Number(loss) > 0)).toBe(true);
  expect(told.filter(([, , heldOut]) => heldOut !== "").length).toBeGreaterThanOrEqual(4);
});

test("the log can be searched", async () => {
  await page.getByRole("tab", { name: "Log" }).click();
  await expect(page.getByRole("log").locator("time").first()).toBeVisible();
  await page.getByLabel("Search the log").fill("no line says this");
  await expect(page.getByText("Nothing to show.")).toBeVisible();
});

test("the pipeline goes on to a verdict and an answer", async () => {
  await page.goto(`${platform.url}/pipeline?id=${ids.pipeline}`);
  await expect(page.locator("header").getByText("Done")).toBeVisible({ timeout: slowly });
  await page.getByRole("button", { name: /Evaluate/ }).click();
  await expect(page.getByText("Better than its base")).toBeVisible();
  await page.getByRole("link", { name: "Read the answers" }).click();
  ids.evaluation = await idOf(page, "evaluation");
  await expect(page.getByText("Regressions first")).toBeVisible();
  await expect(page.getByText("Expected").first()).toBeVisible();
  await page.goto(`${platform.url}/pipeline?id=${ids.pipeline}`);
  await page.getByRole("link", { name: "Talk to it" }).first().click();
  ids.deployment = await idOf(page, "deployment");
  await page.getByText("How they answer").click();
  await page.getByLabel("Longest answer").fill("8");
  await page.getByLabel("Your question").fill("what is 3 plus 8?");
  await page.getByLabel("Your question").press("Enter");
  await expect(page.getByRole("region", { name: "Tuned" }).getByText(/tokens ·/)).toBeVisible();
});

test("a key is shown once, and opens what the page says it opens", async ({ request }) => {
  const code = await page.getByRole("region", { name: "curl example" }).textContent();
  ids.model = /"model": "([^"]+)"/.exec(code ?? "")![1]!;
  await page.getByRole("link", { name: "Make a key" }).click();
  await page.getByLabel("Name", { exact: true }).fill("walk-through");
  await page.getByRole("button", { name: "Make the key" }).click();
  const secret = await page.getByRole("dialog").locator("code").textContent();
  await page.getByRole("button", { name: "I have it" }).click();
  await expect(page.getByText("walk-through")).toBeVisible();
  const models = await request.get(`${platform.url}/v1/models`, { headers: { Authorization: `Bearer ${secret}` } });
  expect(((await models.json()) as { data: { id: string }[] }).data.map(({ id }) => id)).toContain(ids.model);

  await page.getByRole("link", { name: "walk-through" }).click();
  ids.key = await idOf(page, "key");
  await expect(page.getByRole("row", { name: /no model reached 1 0/ })).toBeVisible();
});

test("a project tells what happened in it", async () => {
  await page.goto(`${platform.url}/projects`);
  await page.getByRole("list", { name: "Projects" }).getByRole("link").first().click();
  ids.project = await idOf(page, "project");
  await expect(page.getByText(`${account.email} started the pipeline “Sums”`)).toBeVisible();
  await page
    .getByRole("link", { name: /training “Sums”/ })
    .last()
    .click();
  expect(await idOf(page, "job")).toBe(ids.job);
});

test("a paused training stands still and goes on", async () => {
  await page.goto(`${platform.url}/train?from=${ids.job}`);
  await page.getByLabel("Stop after").fill("2000");
  await page.getByRole("button", { name: "Start the training" }).click();
  await expect(page.getByText(/step \d+ of 2,000/)).toBeVisible({ timeout: slowly });
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(page.locator("header").getByText("Paused")).toBeVisible({ timeout: slowly });
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(page.locator("header").getByText("Running")).toBeVisible({ timeout: slowly });
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Cancel" }).click();
  await page.getByRole("button", { name: "Cancel the training" }).click();
  await expect(page.locator("header").getByText("Cancelled")).toBeVisible({ timeout: slowly });

  ids.other = await idOf(page, "job");
  await page.goto(`${platform.url}/compare?id=${ids.job}`);
  await page.getByLabel("Add a training").selectOption(ids.other);
  await expect(page.getByRole("row", { name: "Stop after 200 2000" })).toBeVisible();
  expect(await faults(page)).toEqual([]);
  await page.goto(`${platform.url}/job?id=${ids.other}`);
  await page.getByRole("button", { name: "More" }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await expect(page.getByText("This cannot be undone.")).toBeVisible();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.waitForURL(/\/jobs$/);
});

const heaviest = 200 * 1024;

const screens = () => [
  "/",
  "/new",
  "/pipelines",
  `/pipeline?id=${ids.pipeline}`,
  "/datasets",
  "/datasets?upload=1",
  `/dataset?id=${ids.dataset}`,
  `/dataset?id=${ids.dataset}&tab=processing`,
  "/jobs",
  "/jobs?q=nobody&status=failed",
  `/compare?id=${ids.job}`,
  `/job?id=${ids.job}`,
  `/train?from=${ids.job}`,
  "/evaluations",
  `/evaluation?id=${ids.evaluation}`,
  "/models",
  `/model?id=${ids.model}`,
  "/model?id=tiny-llama",
  "/deployments",
  `/deployment?id=${ids.deployment}`,
  "/keys",
  `/key?id=${ids.key}`,
  "/projects",
  `/project?id=${ids.project}`,
  `/project?id=${ids.project}&tab=members`,
  "/settings",
  "/settings?tab=account",
  "/settings?tab=machine",
  "/settings?tab=users",
  "/settings?tab=audit",
  "/design",
  "/job?id=job_nowhere",
  "/no-such-page",
];

for (const theme of ["light", "dark"] as const) {
  test(`axe finds nothing on any screen in the ${theme} theme, and none is wider than a phone`, async ({ browser }) => {
    const own = await browser.newContext({
      storageState: await context.storageState(),
      colorScheme: theme,
      serviceWorkers: "block",
    });
    const tab = await own.newPage();
    const found: string[] = [];
    for (const path of screens()) {
      await tab.goto(platform.url + path);
      await settle(tab);
      found.push(...(await faults(tab)).map((what) => `${path}: ${what}`));
    }
    await tab.goto(`${platform.url}/dataset?id=${ids.dataset}&tab=rows`);
    await tab.getByRole("radio", { name: "Tokens" }).press(" "); // its label lies over it
    await tab.getByRole("article", { name: "Row 1" }).waitFor({ timeout: slowly });
    found.push(...(await faults(tab)).map((what) => `tokens: ${what}`));
    await own.close();
    expect(found).toEqual([]);
  });
}

test("no page loads more script than 200 KB, compressed", async ({ browser }) => {
  const own = await browser.newContext({ storageState: await context.storageState(), serviceWorkers: "block" });
  const heavy: Record<string, number> = {};
  for (const path of screens()) {
    const tab = await own.newPage();
    const devtools = await tab.context().newCDPSession(tab);
    await devtools.send("Network.enable");
    await devtools.send("Network.setCacheDisabled", { cacheDisabled: true });
    await tab.setExtraHTTPHeaders({ "Accept-Encoding": "gzip" });
    let bytes = 0;
    devtools.on("Network.responseReceived", ({ type, response }) => {
      if (type === "Script") bytes += Number(response.headers["Content-Length"] ?? response.headers["content-length"]);
    });
    await tab.goto(platform.url + path);
    await settle(tab);
    console.log(`${(bytes / 1024).toFixed(0).padStart(5)} KB  ${path}`);
    if (bytes > heaviest) heavy[path] = bytes;
    await tab.close();
  }
  await own.close();
  expect(heavy).toEqual({});
});

/** Everything asked for has come, and nothing moves any more. */
async function settle(tab: Page) {
  await tab.locator("h1, main p").first().waitFor();
  await expect(tab.locator("[aria-label=Loading]")).toHaveCount(0);
  await tab.waitForTimeout(400);
}

/** What axe finds at a desk and on a phone, and how far the page is wider than a phone. */
async function faults(tab: Page): Promise<string[]> {
  const found: string[] = [];
  for (const { width, height } of [
    { width: 390, height: 844 },
    { width: 1280, height: 800 },
  ]) {
    await tab.setViewportSize({ width, height });
    await settle(tab);
    found.push(...(await violations(tab)).map((what) => `${width} px: ${what}`));
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    if (wide > 0) found.push(`${width} px: ${wide} px too wide`);
  }
  return found;
}

/** The id in the address, once the page of such a thing is there. */
async function idOf(tab: Page, kind: string): Promise<string> {
  await tab.waitForURL(new RegExp(`/${kind}\\?id=`));
  return new URL(tab.url()).searchParams.get("id") ?? "";
}

/** kill -9 of the Python process that trains. */
async function killRunner() {
  const runs = `${platform.folder}/d/worker/main/runs/${ids.job}`;
  const { readdir } = await import("node:fs/promises");
  const launches = (await readdir(runs)).filter((name) => name.startsWith("e")).sort();
  const lease = JSON.parse(await readFile(`${runs}/${launches.at(-1)}/lease.json`, "utf8")) as { pid: number };
  process.kill(lease.pid, "SIGKILL");
}

function sums(): string {
  return Array.from({ length: 600 }, (_, i) => {
    const [a, b] = [i % 40, (i * 7) % 23];
    const messages = [
      { role: "user", content: `what is ${a} plus ${b}? (question ${i})` },
      { role: "assistant", content: `${a} plus ${b} is ${a + b}.` },
    ];
    return JSON.stringify({ messages });
  }).join("\n");
}

function tickets(): string {
  const rows = Array.from({ length: 60 }, (_, i) => `${i};"Wie geht Schritt ${i}, bitte?";Über Schritt ${i}.`);
  return ["Ticket;Frage des Kunden;Antwort", ...rows].join("\n");
}
