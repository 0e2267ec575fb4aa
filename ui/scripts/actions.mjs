// Writes what the audit log calls the operations of the API (x-audit of its document), for the filter of the log.
import { readFile, writeFile } from "node:fs/promises";
import { load } from "js-yaml";

const { paths } = load(await readFile("../api/openapi.yaml", "utf8"));
const actions = Object.values(paths)
  .flatMap((path) => Object.values(path))
  .filter((operation) => operation["x-audit"])
  .map((operation) => [operation.operationId, operation["x-audit"].do])
  .toSorted(([, a], [, b]) => a.localeCompare(b, "en"));
await writeFile(
  "src/lib/api/actions.gen.ts",
  `export const actions: readonly (readonly [action: string, words: string])[] = ${JSON.stringify(actions, null, 2)};\n`,
);
