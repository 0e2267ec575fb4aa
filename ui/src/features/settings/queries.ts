import { $api, type Schemas } from "@/lib/api/client";

export type System = Schemas["System"];
export type Worker = Schemas["Worker"];

/** hardware.Hardware, as a worker reports it; the document leaves it open. */
export type Hardware = {
  os?: string;
  arch?: string;
  cpu?: { model: string; cores: number; flags: string[] | null };
  memory?: { total: number; available: number };
  disk?: { path: string; total: number; free: number };
  gpus?: { index: number; name: string; memory: number; memory_free: number }[] | null;
};

export const useSystem = () => $api.useQuery("get", "/api/system", {}, { refetchInterval: 15_000 });

export const hardwareOf = (worker: Worker) => (worker.hardware ?? {}) as Hardware;
