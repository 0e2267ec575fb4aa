import {
  Boxes,
  ChartNoAxesColumn,
  Database,
  Gauge,
  KeyRound,
  MessagesSquare,
  Scale,
  Settings,
  Workflow,
} from "lucide-react";

export type Destination = {
  href: string;
  label: string;
  icon: typeof Gauge;
  /** Typed after g. */
  key: string;
  /** Pages that belong to it. */
  covers?: string[];
};

export const destinations: { group?: string; items: Destination[] }[] = [
  { items: [{ href: "/", label: "Dashboard", icon: Gauge, key: "h" }] },
  {
    group: "Make",
    items: [
      { href: "/pipelines", label: "Pipelines", icon: Workflow, key: "p", covers: ["/pipeline", "/new"] },
      { href: "/datasets", label: "Datasets", icon: Database, key: "d", covers: ["/dataset"] },
      { href: "/jobs", label: "Training", icon: ChartNoAxesColumn, key: "t", covers: ["/job", "/train", "/compare"] },
      { href: "/evaluations", label: "Evaluations", icon: Scale, key: "e", covers: ["/evaluation"] },
    ],
  },
  {
    group: "Use",
    items: [
      { href: "/models", label: "Models", icon: Boxes, key: "m", covers: ["/model"] },
      { href: "/deployments", label: "Deployments", icon: MessagesSquare, key: "l", covers: ["/deployment"] },
      { href: "/keys", label: "API keys", icon: KeyRound, key: "k", covers: ["/key"] },
    ],
  },
  { items: [{ href: "/settings", label: "Settings", icon: Settings, key: "s" }] },
];

export const allDestinations = destinations.flatMap((group) => group.items);

export function isAt(destination: Destination, pathname: string): boolean {
  const at = pathname.replace(/\/$/, "") || "/";
  return at === destination.href || (destination.covers?.includes(at) ?? false);
}
