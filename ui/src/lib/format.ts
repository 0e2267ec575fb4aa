const locale = "en";

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(locale, { notation: "compact", maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 1 });
const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const dayOnly = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", timeZone: "UTC" });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

/** What stands where there is no value. */
export const none = "–";

export const count = (n: number | undefined | null) => (n == null ? none : whole.format(n));
export const shortCount = (n: number | undefined | null) => (n == null ? none : compact.format(n));
export const share = (n: number | undefined | null) => (n == null ? none : percent.format(n));
export const moment = (at: string | undefined | null) => (at ? dateTime.format(new Date(at)) : none);

/** A date without a time, as 2026-11-24. */
export const day = (date: string) => dayOnly.format(new Date(date));

/** plural(1, "row") is "1 row", plural(2, "row") "2 rows". */
export const plural = (n: number, noun: string, many = `${noun}s`) => `${whole.format(n)} ${n === 1 ? noun : many}`;

/** A loss, a rate or any other measured number, to so many significant digits. */
export function measure(n: number | undefined | null, digits = 4): string {
  if (n == null || !Number.isFinite(n)) return none;
  if (n === 0) return "0";
  const size = Math.abs(n);
  if (size < 0.001 || size >= 1e6) return n.toExponential(Math.max(0, digits - 2));
  return String(Number(n.toPrecision(digits)));
}

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n: number | undefined | null): string {
  if (n == null) return none;
  let size = n;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

/** A span of seconds in its two largest units. */
export function duration(seconds: number | undefined | null): string {
  if (seconds == null || !Number.isFinite(seconds)) return none;
  if (seconds < 1) return seconds <= 0 ? "0 s" : "< 1 s";
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return pair(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86_400) return pair(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return pair(Math.floor(s / 86_400), "d", Math.floor((s % 86_400) / 3600), "h");
}

/** A short span of milliseconds. */
export function millis(n: number | undefined | null): string {
  if (n == null) return none;
  if (n < 1_000) return `${Math.round(n)} ms`;
  return n < 60_000 ? `${Number((n / 1_000).toPrecision(2))} s` : duration(n / 1_000);
}

function pair(a: number, unit: string, b: number, smaller: string): string {
  return b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${smaller}`;
}

/** "2 to 3 min", "about 40 s": two spans as one, without false precision. */
export function durationRange(low: number, high: number): string {
  const [a, b] = [high >= 90 && low >= 45 && low < 90 ? "1 min" : roughly(low), roughly(high)];
  if (a === b) return `about ${a}`;
  const [numberA, unitA] = a.split(" ");
  const [, unitB] = b.split(" ");
  return unitA === unitB && a.split(" ").length === 2 ? `${numberA} to ${b}` : `${a} to ${b}`;
}

function roughly(seconds: number): string {
  if (seconds < 10) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 90) return `${Math.round(seconds / 5) * 5} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Number((seconds / 3600).toFixed(1))} h`;
  return `${Number((seconds / 86_400).toFixed(1))} d`;
}

const steps: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

export function ago(at: string | number | undefined | null, now = Date.now()): string {
  if (at == null) return none;
  const seconds = (new Date(at).getTime() - now) / 1000;
  for (const [unit, size] of steps) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return "just now";
}
