/** Steps, then the values of each line over them; NaN where a line has none. They may be long: nothing here copies them. */
export type Columns = [steps: Float64Array, ...lines: Float64Array[]];

/** The same as uPlot draws it: null where a line has no value. */
export type Drawn = [steps: number[], ...lines: (number | null)[][]];

export type Window = { from: number; to: number };

/**
 * A curve with as many points as the eye can tell apart: of each of so many stretches of the window the lowest and the
 * highest value of every line, which draw the same picture. The first and the last point stay, so that its extent does.
 * A curve of few points comes back whole. A live curve is thinned ten times a second: one pass, and nothing made but the
 * result.
 */
export function thin(columns: Columns, stretches: number, window?: Window): Drawn {
  const [steps, ...lines] = columns;
  const last = steps.length - 1;
  const low = window ? Math.max(0, firstFrom(steps, window.from) - 1) : 0;
  const high = window ? Math.min(last, firstFrom(steps, window.to) + 1) : last;
  if (high - low <= 4 * stretches && !window)
    return drawn(
      columns,
      Array.from(steps, (_, at) => at),
    );
  const kept = last < 0 ? [] : [0];
  const size = Math.max(1, (high - low + 1) / stretches);
  for (let start = low; start <= high; start += size) {
    const [from, to] = [Math.ceil(start), Math.min(high, Math.ceil(start + size) - 1)];
    if (size === 1) keep(kept, from, kept.length);
    else keepExtremes(kept, lines, from, to);
  }
  if (last > 0) keep(kept, last, kept.length);
  return drawn(columns, kept);
}

/** Adds where each line is lowest and highest within a stretch; nothing of a line that has no value there. */
function keepExtremes(kept: number[], lines: Float64Array[], from: number, to: number) {
  const since = kept.length;
  for (const line of lines) {
    let lowest = -1;
    let highest = -1;
    for (let at = from; at <= to; at++) {
      const value = line[at]!;
      if (Number.isNaN(value)) continue;
      if (lowest < 0 || value < line[lowest]!) lowest = at;
      if (highest < 0 || value > line[highest]!) highest = at;
    }
    if (lowest < 0) continue;
    keep(kept, lowest, since);
    keep(kept, highest, since);
  }
}

/** Puts a place among those since an earlier one, in order and once; it is not before them. */
function keep(kept: number[], place: number, since: number) {
  let at = kept.length;
  while (at > since && kept[at - 1]! > place) at--;
  if (kept[at - 1] === place) return;
  if (at === kept.length) kept.push(place);
  else kept.splice(at, 0, place);
}

/** Every column at some places of it. */
const drawn = (columns: Columns, places: number[]) =>
  columns.map((column) => places.map((at) => (Number.isNaN(column[at]!) ? null : column[at]!))) as Drawn;

/** The first place whose step is at least this one; the length if there is none. */
function firstFrom(steps: Float64Array, step: number): number {
  let low = 0;
  let high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle]! < step) low = middle + 1;
    else high = middle;
  }
  return low;
}
