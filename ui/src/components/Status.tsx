import {
  Ban,
  Check,
  CircleDashed,
  CircleHelp,
  Hourglass,
  LoaderCircle,
  Pause,
  Radio,
  Square,
  TriangleAlert,
} from "lucide-react";
import { Badge, type Tone } from "./Badge";

type Shown = { label: string; tone: Tone; icon: typeof Check; turning?: boolean };

/** Every status of every resource: a word, an icon and a tone, so that colour alone tells nothing. */
const statuses: Record<string, Shown> = {
  queued: { label: "Queued", tone: "neutral", icon: Hourglass },
  running: { label: "Running", tone: "accent", icon: LoaderCircle, turning: true },
  pausing: { label: "Pausing", tone: "warn", icon: LoaderCircle, turning: true },
  resuming: { label: "Resuming", tone: "accent", icon: LoaderCircle, turning: true },
  paused: { label: "Paused", tone: "warn", icon: Pause },
  cancelling: { label: "Cancelling", tone: "neutral", icon: LoaderCircle, turning: true },
  cancelled: { label: "Cancelled", tone: "neutral", icon: Ban },
  stopping: { label: "Stopping", tone: "neutral", icon: LoaderCircle, turning: true },
  stopped: { label: "Stopped", tone: "neutral", icon: Square },
  completed: { label: "Done", tone: "good", icon: Check },
  ready: { label: "Ready", tone: "good", icon: Check },
  serving: { label: "Live", tone: "good", icon: Radio },
  restarting: { label: "Restarting", tone: "warn", icon: LoaderCircle, turning: true },
  failed: { label: "Failed", tone: "bad", icon: TriangleAlert },
  awaiting_confirmation: { label: "Needs you", tone: "warn", icon: CircleHelp },
  pending: { label: "Waiting", tone: "neutral", icon: CircleDashed },
};

export function statusLabel(status: string): string {
  return statuses[status]?.label ?? status;
}

export function StatusBadge({ status, label }: { status: string; label?: string }) {
  const shown = statuses[status] ?? { label: status, tone: "neutral" as const, icon: CircleDashed };
  const Icon = shown.icon;
  return (
    <Badge
      tone={shown.tone}
      icon={<Icon aria-hidden className={shown.turning ? "size-3 motion-safe:animate-spin" : "size-3"} />}
    >
      {label ?? shown.label}
    </Badge>
  );
}

const moving = new Set(["restarting", "queued", "running", "pausing", "resuming", "cancelling", "stopping"]);

/** Something is still happening by itself. */
export const isMoving = (status: string | undefined) => status !== undefined && moving.has(status);
