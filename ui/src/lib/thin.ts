/** Steps, then the values of each line, as uPlot takes them; nothing is null. */
export type Columns = [steps: number[], ...lines: (number | null)[][]];

export type Window = { from: number; to: number };

/**
 * A curve with as many points as the eye can tell apart: of each of so many stretches of the window the lowest and the
 * highest value of every line, which draw the same picture. The first and the last point stay, so that its extent does.
 * A curve of few points comes back whole. What comes back is a copy.
 */
export function thin(columns: Columns, stretches: number, window?: Window): Columns {
  const [steps, ...lines] = columns;
  const last = steps.length - 1;
  const low = window ? Math.max(0, firstFrom(steps, window.from) - 1) : 0;
  const high = window ? Math.min(last, firstFrom(steps, window.to) + 1) : last;
  if (high - low <= 4 * stretches && !window) return columns.map((column) => column.slice()) as Columns;
  const kept = new Set<number>(steps.length > 0 ? [0] : []);
  const size = Math.max(1, (high - low + 1) / stretches);
  for (let start = low; start <= high; start += size) {
    const [from, to] = [Math.ceil(start), Math.min(high, Math.ceil(start + size) - 1)];
    const extremes = size === 1 ? [from] : lines.flatMap((line) => extremesOf(line, from, to));
    for (const at of extremes.sort((a, b) => a - b)) kept.add(at);
  }
  if (last >= 0) kept.add(last);
  return columns.map((column) => Array.from(kept, (at) => column[at]!)) as Columns;
}

/** Where a line is lowest and highest within a stretch; nothing if it has no value there. */
function extremesOf(line: (number | null)[], from: number, to: number): number[] {
  let lowest = -1;
  let highest = -1;
  for (let at = from; at <= to; at++) {
    const value = line[at];
    if (value == null) continue;
    if (lowest < 0 || value < line[lowest]!) lowest = at;
    if (highest < 0 || value > line[highest]!) highest = at;
  }
  return lowest < 0 ? [] : [lowest, highest];
}

/** The first place whose step is at least this one; the length if there is none. */
function firstFrom(steps: number[], step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle]! < step) low = middle + 1;
    else high = middle;
  }
  return low;
}
