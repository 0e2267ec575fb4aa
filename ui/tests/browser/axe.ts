import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { Page } from "@playwright/test";

type Finding = { id: string; help: string; nodes: { target: string[] }[] };

const source = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What axe finds in a page, or in the parts of it that a selector names, by rule. */
export async function findings(page: Page, within = "html"): Promise<Finding[]> {
  // Not as a script of the page, which its policy would refuse.
  await page.evaluate(await readFile(source, "utf8"));
  const result = await page.evaluate(
    (selector) =>
      (globalThis as unknown as { axe: { run: (selector: string) => Promise<{ violations: Finding[] }> } }).axe.run(
        selector,
      ),
    within,
  );
  return result.violations;
}

/** The same in words, a line for each rule. */
export async function violations(page: Page, within?: string): Promise<string[]> {
  return (await findings(page, within)).map(
    ({ id, help, nodes }) => `${id}: ${help} (${nodes.map(({ target }) => target.join(" ")).join("; ")})`,
  );
}
