// Lays the export out as the Go server embeds it: ui/dist, with .br and .gz beside each file that gains from it.
import { createHash } from "node:crypto";
import { cp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, extname, join, relative } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const from = "out";
const to = "dist";
// Shown by the server alone, and too large to be kept by every browser.
const reference = "reference";
const compressible = new Set([".html", ".js", ".css", ".txt", ".json", ".svg", ".webmanifest", ".map"]);
const smallest = 512;

await empty(to);
await cp(from, to, { recursive: true });
await rm(from, { recursive: true });
await addReference();
await putStylesIntoPages();
await writeServiceWorker();
await Promise.all((await files(to)).filter((path) => compressible.has(extname(path))).map(compress));

/**
 * A page is painted when it is there, without waiting for another file: its sheet stands in it. The link stays, for React
 * looks for it before it loads a sheet, and the policy allows what stands in a page by its hash; as a sheet for printers
 * it holds nothing up.
 */
async function putStylesIntoPages() {
  for (const path of await files(to)) {
    if (extname(path) !== ".html") continue;
    const page = await readFile(path, "utf8");
    const sheets = page.matchAll(/<link rel="stylesheet" href="(\/_next\/[^"]+\.css)" data-precedence="next"\/>/g);
    let filled = page;
    for (const [link, href] of sheets) {
      const sheet = (await readFile(join(to, href), "utf8")).replaceAll("url(../", "url(/_next/static/");
      filled = filled.replace(link, () => `<style>${sheet}</style>${link.replace("/>", ' media="print"/>')}`);
    }
    await writeFile(path, filled);
  }
}

/** Swagger UI, for the page that shows the API's document. */
async function addReference() {
  const library = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  for (const name of ["swagger-ui-bundle.js", "swagger-ui.css"])
    await cp(join(library, name), join(to, reference, name));
}

/** Names the build by its content, and lists what opens without the server. */
async function writeServiceWorker() {
  const paths = (await files(to)).filter(opensOffline).sort();
  const sum = createHash("sha256");
  for (const path of paths) sum.update(path).update(await readFile(path));
  const listed = paths.map((path) => `/${relative(to, path)}`);
  const source = await readFile("src/sw.js", "utf8");
  const filled = source
    .replace('"BUILD"', () => JSON.stringify(sum.digest("hex").slice(0, 12)))
    .replace("FILES", () => JSON.stringify(listed));
  await writeFile(join(to, "sw.js"), filled);
}

function opensOffline(path) {
  return path !== join(to, "README.md") && !path.startsWith(join(to, reference)) && !path.startsWith(join(to, "api"));
}

/** Removes all but the committed README. */
async function empty(folder) {
  for (const name of await readdir(folder)) {
    if (name !== "README.md") await rm(join(folder, name), { recursive: true });
  }
}

async function files(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

async function compress(path) {
  if ((await stat(path)).size < smallest) return;
  const raw = await readFile(path);
  const brotli = await promisify(brotliCompress)(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  const gz = await promisify(gzip)(raw, { level: 9 });
  if (brotli.length < raw.length) await writeFile(`${path}.br`, brotli);
  if (gz.length < raw.length) await writeFile(`${path}.gz`, gz);
}
