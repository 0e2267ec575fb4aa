import { Cpu, HardDrive, MemoryStick, Microchip } from "lucide-react";
import type { ReactNode } from "react";
import { Badge } from "@/components/Badge";
import { Notice } from "@/components/Notice";
import { Progress } from "@/components/Progress";
import { ago, bytes, plural } from "@/lib/format";
import { hardwareOf, type System, type Worker } from "./queries";

/** The machines that work, what they have left, and what is wrong with the server's own disk. */
export function Machines({ system }: { system: System }) {
  return (
    <div className="grid gap-6">
      {system.storage && (
        <Notice kind="bad" title="Not everything can be stored now">
          {system.storage}
        </Notice>
      )}
      {system.backup_failed && (
        <Notice kind="warn" title="The last backup failed">
          {system.backup_failed}
        </Notice>
      )}
      <Workers system={system} />
    </div>
  );
}

function Workers({ system }: { system: System }) {
  if (system.workers.length === 0) {
    return (
      <p className="text-ink-2">
        No worker has reported yet. One starts with <code className="font-mono">vibeflow up</code>, within a minute.
      </p>
    );
  }
  return (
    <ul className="grid gap-6">
      {system.workers.map((worker) => (
        <li key={worker.id}>
          <Machine worker={worker} free={system.disk_free_bytes} />
        </li>
      ))}
    </ul>
  );
}

function Machine({ worker, free }: { worker: Worker; free: number | undefined }) {
  const { cpu, memory, disk, gpus } = hardwareOf(worker);
  return (
    <div className="grid gap-3">
      <div className="flex flex-wrap items-center gap-2">
        <span className="min-w-0 truncate font-medium">{worker.id.split("/")[0]}</span>
        <Badge tone={worker.online ? "good" : "bad"}>
          {worker.online ? "online" : `last seen ${ago(worker.last_seen)}`}
        </Badge>
        <span className="text-ink-3 text-sm">queue {worker.queue}</span>
      </div>
      {(gpus ?? []).map((gpu) => (
        <Gauge
          key={gpu.index}
          icon={<Microchip aria-hidden className="size-4" />}
          name={gpu.name}
          used={gpu.memory - gpu.memory_free}
          total={gpu.memory}
        />
      ))}
      {cpu && (
        <p className="flex items-center gap-2 text-sm">
          <Cpu aria-hidden className="size-4 shrink-0 text-ink-3" />
          <span className="min-w-0 truncate">{cpu.model || "Processor"}</span>
          <span className="ml-auto shrink-0 text-ink-3">{plural(cpu.cores, "core")}</span>
        </p>
      )}
      {memory && (
        <Gauge
          icon={<MemoryStick aria-hidden className="size-4" />}
          name="Memory"
          used={memory.total - memory.available}
          total={memory.total}
        />
      )}
      {disk && (
        <Gauge
          icon={<HardDrive aria-hidden className="size-4" />}
          name="Disk"
          used={disk.total - (free ?? disk.free)}
          total={disk.total}
        />
      )}
    </div>
  );
}

function Gauge({ icon, name, used, total }: { icon: ReactNode; name: string; used: number; total: number }) {
  const part = total > 0 ? used / total : 0;
  return (
    <div className="grid gap-1.5 text-sm">
      <div className="flex items-center gap-2">
        <span className="text-ink-3">{icon}</span>
        <span className="min-w-0 truncate">{name}</span>
        <span className="tabular ml-auto shrink-0 text-ink-3">
          {bytes(total - used)} free of {bytes(total)}
        </span>
      </div>
      <Progress value={part} label={`${name} in use`} tone={part > 0.95 ? "bad" : part > 0.85 ? "warn" : "idle"} />
    </div>
  );
}
