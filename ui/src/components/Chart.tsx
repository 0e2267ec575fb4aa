"use client";

import "uplot/dist/uPlot.min.css";
import { useCallback, useEffect, useEffectEvent, useRef } from "react";
import UPlot from "uplot";
import { useTheme } from "@/features/shell/theme";
import { measure } from "@/lib/format";
import { type Columns, thin, type Window } from "@/lib/thin";

export type Line = {
  label: string /** A colour token, as "--chart-1". */;
  colour: string /** Drawn faintly, under another. */;
  faint?: boolean;
  points?: boolean;
};

type ChartProps = {
  label: string;
  lines: Line[];
  /** May grow in place: a new array of the same columns has the chart drawn again. */
  data: Columns;
  log?: boolean;
  height?: number;
  /** Charts of one name share their cursor. */
  sync?: string;
  /** Steps to mark, and what for. */
  marks?: { at: number; label: string }[];
};

/** Points are drawn for so many stretches of a chart's width: more cannot be told apart. */
const stretches = 800;
const none: NonNullable<ChartProps["marks"]> = [];

/** Lines over steps. Drag to zoom in, double-click to see all again. */
export function Chart({ label, lines, data, log = false, height = 260, sync, marks = none }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const theme = useTheme();
  const marked = useRef(marks);
  const latest = useRef(data);
  const window = useRef<Window>(undefined);
  const show = useCallback((chart: UPlot) => {
    chart.setData(thin(latest.current, stretches, window.current), !window.current);
    if (window.current) chart.redraw();
  }, []);
  const make = useEffectEvent((into: HTMLDivElement) => {
    window.current = undefined;
    const told = options({ lines, log, height, sync, width: into.clientWidth, marks: marked, window, show });
    return new UPlot(told, thin(data, stretches), into);
  });
  const shape = lines.map(({ label, colour, faint }) => label + colour + faint).join();

  // biome-ignore lint/correctness/useExhaustiveDependencies: what changes the chart itself makes it anew; colours are read from the theme
  useEffect(() => {
    const into = box.current!;
    plot.current = make(into);
    const observer = new ResizeObserver(([entry]) =>
      plot.current?.setSize({ width: Math.floor(entry!.contentRect.width), height }),
    );
    observer.observe(into);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = undefined;
    };
  }, [shape, log, height, sync, theme]);

  useEffect(() => {
    marked.current = marks;
    latest.current = data;
    if (plot.current) show(plot.current);
  }, [data, marks, show]);

  return <div ref={box} role="img" aria-label={label} className="chart min-w-0" style={{ minHeight: height + 28 }} />;
}

type Options = {
  lines: Line[];
  log: boolean;
  height: number;
  width: number;
  sync?: string;
  marks: { current: { at: number; label: string }[] };
  /** The part that the user sees, which more data must not take away; undefined: all of it. */
  window: { current: Window | undefined };
  /** Draws what is in the window, as finely as it is looked at. */
  show: (plot: UPlot) => void;
};

function options({ lines, log, height, width, sync, marks, window, show }: Options): UPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (token: string) => style.getPropertyValue(token).trim();
  const axis = {
    stroke: colour("--ink-3"),
    grid: { stroke: colour("--chart-grid"), width: 1 },
    ticks: { show: false },
    font: '12px "Inter Variable", sans-serif',
  };
  return {
    width,
    height,
    cursor: { sync: sync ? { key: sync } : undefined, drag: { x: true, y: false }, points: { size: 7 } },
    legend: { live: true },
    scales: { x: { time: false }, y: { distr: log ? 3 : 1 } },
    axes: [
      { ...axis, space: 60, incrs: wholeSteps },
      {
        ...axis,
        size: 58,
        values: (_plot, ticks) => ticks.map((tick) => (tick === null ? "" : tickLabel(tick, ticks))),
      },
    ],
    series: [
      { label: "Step" },
      ...lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour) + (line.faint ? "55" : ""),
        width: line.faint ? 1 : 2,
        spanGaps: true,
        points: line.points ? { show: true, size: 6, fill: colour(line.colour) } : { show: isDot, size: 6 },
        value: (_plot: UPlot, value: number | null) => measure(value),
      })),
    ],
    hooks: {
      draw: [(plot) => drawMarks(plot, marks.current, colour("--ink-3"))],
      // Scales follow a moment after the data: only here are both of the same time.
      setScale: [
        (plot, scale) => {
          if (scale !== "x") return;
          const seen = seenOf(plot);
          if (seen?.from === window.current?.from && seen?.to === window.current?.to) return;
          window.current = seen;
          queueMicrotask(() => show(plot));
        },
      ],
    },
  };
}

/** There is no half step. */
const wholeSteps = [...Array(8).keys()].flatMap((n) => [1, 2, 5].map((first) => first * 10 ** n));

/** A line of one point is none. */
const isDot = ({ data: [steps] }: UPlot) => steps.length === 1;

/** The part of a chart's steps that is in sight; undefined: all. */
function seenOf({ data: [steps], scales }: UPlot): Window | undefined {
  const { min, max } = scales.x!;
  const whole = min == null || max == null || (min <= (steps[0] ?? 0) && max >= (steps.at(-1) ?? 0));
  return whole ? undefined : { from: min, to: max };
}

/** Enough digits to tell one tick from the next. */
function tickLabel(tick: number, ticks: (number | null)[]): string {
  const known = ticks.filter((t) => t !== null);
  for (const digits of [2, 3, 4, 5]) {
    if (new Set(known.map((t) => measure(t, digits))).size === known.length) return measure(tick, digits);
  }
  return measure(tick, 6);
}

function drawMarks(plot: UPlot, marks: { at: number }[], colour: string) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const { at } of marks) {
    const x = Math.round(plot.valToPos(at, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.beginPath();
    ctx.arc(x, bbox.top + 2 * devicePixelRatio, 2.5 * devicePixelRatio, 0, 2 * Math.PI);
    ctx.fill();
  }
  ctx.restore();
}
