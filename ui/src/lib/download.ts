/** Saves text as a file of the user's. */
export function downloadText(name: string, text: string, type = "text/plain") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Some browsers read the address a moment after the click.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** A value as a field of a CSV file (RFC 4180). A spreadsheet takes a text that begins like a formula for one. */
export function csvField(value: unknown): string {
  const text = value == null ? "" : String(value);
  const harmless = typeof value !== "number" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

export const csv = (rows: unknown[][]) => rows.map((row) => row.map(csvField).join(",")).join("\r\n");
