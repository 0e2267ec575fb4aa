import { readFile } from "node:fs/promises";
import { expect, type Page, test } from "@playwright/test";
import { findings, violations } from "./axe";
import { Platform } from "./platform";

// The API's document as pages: from this server alone, under its policy, in both themes, at a desk and on a phone. What is
// in them is Swagger UI's.

/** What axe finds in the markup of Swagger UI 5.35.0, which is not ours to mend: what else it finds is new. */
const known = [
  "color-contrast",
  "heading-order",
  "nested-interactive",
  "region",
  "scrollable-region-focusable",
  "select-name",
];

let platform: Platform;

test.beforeAll(async () => {
  platform = await Platform.start();
});

test.afterAll(async () => {
  await platform?.remove();
});

for (const theme of ["light", "dark"] as const) {
  for (const width of [1280, 390]) {
    test(`an operation is read, ${theme}, ${width} px`, async ({ browser }) => {
      const context = await browser.newContext({ colorScheme: theme, viewport: { width, height: 800 } });
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("console", (message) => {
        if (message.type() === "error") complaints.push(message.text());
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(platform.url) && !request.url().startsWith("data:"))
          complaints.push(request.url());
      });

      await page.goto(`${platform.url}/api/docs#/training/startTraining`);
      await expect(page.getByRole("heading", { name: /VibeFlow API/ })).toBeVisible();
      const operation = page.locator("#operations-training-startTraining");
      await expect(operation.getByText("Idempotency-Key", { exact: true })).toBeVisible();
      await expect(operation.getByText("support, two epochs").first()).toBeVisible();
      await expect(operation.getByText("The server has no room; nothing was changed.")).toBeVisible();

      expect(await violations(page, "body > header")).toEqual([]);
      const found = (await findings(page)).map(({ id }) => id);
      expect(found.filter((id) => !known.includes(id))).toEqual([]);
      expect(await overflow(page)).toBeLessThanOrEqual(0);
      expect(await background(page)).toBe(theme);
      expect(complaints).toEqual([]);
      await context.close();
    });
  }
}

test("an operation is tried with a token that is typed in", async ({ page }) => {
  await page.goto(`${platform.url}/api/docs#/system/getSystem`);
  await page.getByRole("button", { name: "Authorize" }).first().click();
  const token = await readFile(`${platform.folder}/d/secrets/cli.token`, "utf8");
  await page.getByLabel("auth-bearer-value").fill(token.trim());
  await page.locator(".auth-btn-wrapper").getByRole("button", { name: "Apply credentials" }).click();
  await page.getByRole("button", { name: "Close" }).last().click();
  const operation = page.locator("#operations-system-getSystem");
  await operation.getByRole("button", { name: "Try it out" }).click();
  await operation.getByRole("button", { name: "Execute" }).click();
  await expect(operation.getByText('"data_dir"').first()).toBeVisible();
});

/** How far the page is wider than its window, in pixels. */
function overflow(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

function background(page: Page): Promise<string> {
  return page.evaluate(() => {
    const [red = 0] = getComputedStyle(document.body).backgroundColor.match(/\d+/g)?.map(Number) ?? [];
    return red < 128 ? "dark" : "light";
  });
}
