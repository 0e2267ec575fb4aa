"use client";

import "uplot/dist/uPlot.min.css";
import { useEffect, useEffectEvent, useRef } from "react";
import UPlot from "uplot";
import { useTheme } from "@/features/shell/theme";
import { measure } from "@/lib/format";

export type Line = {
  label: string /** A colour token, as "--chart-1". */;
  colour: string /** Drawn faintly, under another. */;
  faint?: boolean;
  points?: boolean;
};

type ChartProps = {
  label: string;
  lines: Line[];
  /** Steps, then the values of each line. */
  data: [number[], ...(number | null)[][]];
  log?: boolean;
  height?: number;
  /** Charts of one name share their cursor. */
  sync?: string;
  /** Steps to mark, and what for. */
  marks?: { at: number; label: string }[];
};

/** Lines over steps. Drag to zoom in, double-click to see all again. */
export function Chart({ label, lines, data, log = false, height = 260, sync, marks = [] }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const theme = useTheme();
  const marked = useRef(marks);
  const zoomed = useRef(false);
  const make = useEffectEvent(
    (into: HTMLDivElement) =>
      new UPlot(options({ lines, log, height, sync, width: into.clientWidth, marks: marked, zoomed }), data, into),
  );
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
    const chart = plot.current;
    if (!chart) return;
    chart.setData(data, !zoomed.current);
    if (zoomed.current) chart.redraw();
  }, [data, marks]);

  return <div ref={box} role="img" aria-label={label} className="chart min-w-0" style={{ minHeight: height + 28 }} />;
}

type Options = {
  lines: Line[];
  log: boolean;
  height: number;
  width: number;
  sync?: string;
  marks: { current: { at: number; label: string }[] };
  /** Whether the user sees a part only, which more data must not take away. */
  zoomed: { current: boolean };
};

function options({ lines, log, height, width, sync, marks, zoomed }: Options): UPlot.Options {
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
      { ...axis, space: 60 },
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
        points: line.points ? { show: true, size: 6, fill: colour(line.colour) } : { show: false },
        value: (_plot: UPlot, value: number | null) => measure(value),
      })),
    ],
    hooks: {
      draw: [(plot) => drawMarks(plot, marks.current, colour("--ink-3"))],
      // Scales follow a moment after the data: only here are both of the same time.
      setScale: [
        ({ data: [steps], scales }, scale) => {
          if (scale === "x") zoomed.current = scales.x!.min! > (steps[0] ?? 0) || scales.x!.max! < (steps.at(-1) ?? 0);
        },
      ],
    },
  };
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
