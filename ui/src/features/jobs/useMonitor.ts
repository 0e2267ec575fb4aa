import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useRef, useState } from "react";
import { isMoving } from "@/components/Status";
import { $api, api } from "@/lib/api/client";
import type { LiveEvent } from "@/lib/live/follow";
import { webSocket } from "@/lib/live/socket";
import { useLive } from "@/lib/live/useLive";
import { Curves, type MetricPoint } from "./curves";
import type { Mark } from "./LossCharts";
import type { Job } from "./queries";

const metricPoints = 5_000;
/** A curve grows smoothly enough for the eye, and drawing a long one costs a frame. */
const betweenDrawings = 200;

/** A job with its curves: what there was, and from then on each event as it comes, without a gap. */
export function useMonitor(id: string) {
  const client = useQueryClient();
  const key = $api.queryOptions("get", "/api/training/{id}", { params: { path: { id } } }).queryKey;
  const job = $api.useQuery("get", "/api/training/{id}", { params: { path: { id } } }, { refetchInterval: 15_000 });
  const curves = useRef(new Curves());
  const [version, setVersion] = useState(0);
  /** What the runner said last that it does. */
  const [doing, setDoing] = useState<string>();
  const drawing = useRef<ReturnType<typeof setTimeout>>(undefined);
  const told = useRef<StepTold>(undefined);
  const draw = () => {
    const point = told.current;
    drawing.current = told.current = undefined;
    if (point) client.setQueryData<Job>(key, (old) => old && { ...old, ...fresh(point), status: begun(old.status) });
    setVersion((n) => n + 1);
  };
  const changed = () => {
    drawing.current ??= setTimeout(draw, betweenDrawings);
  };

  // Read after the job, whose last event is where the live ones begin: what happens in between comes twice, and is not lost.
  const enabled = job.data !== undefined;
  const history = useQuery({
    queryKey: ["metrics", id],
    enabled,
    // The points are kept in curves, which live as long as the page.
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }) => {
      const params = { path: { id }, query: { max_points: metricPoints } };
      const { data } = await api.GET("/api/training/{id}/metrics", { params, signal });
      for (const point of data!.points) curves.current.put(point);
      changed();
      return data!.points.length;
    },
  });
  const kept = $api.useQuery("get", "/api/training/{id}/checkpoints", { params: { path: { id } } }, { enabled });

  const live = useLive({
    path: job.data && (isMoving(job.data.status) || job.data.status === "paused") ? `/api/training/${id}` : undefined,
    after: job.data?.last_seq ?? 0,
    transport: webSocket,
    onEvents: (events) => {
      for (const event of events) take(event);
      changed();
    },
  });

  const take = ({ type, payload }: LiveEvent) => {
    switch (type) {
      case "runner.metrics": {
        const point = payload as StepTold;
        curves.current.put(point);
        told.current = point;
        return;
      }
      case "runner.eval_metrics":
        curves.current.put(payload as MetricPoint);
        break;
      case "job.checkpoint_committed":
      case "job.checkpoint_lost":
        void kept.refetch();
        break;
      case "runner.log":
        if (payload.level === "info") setDoing(firstSentence(String(payload.message)));
        return;
      case "runner.progress":
        client.setQueryData<Job>(key, (old) => old && { ...old, progress: payload as Job["progress"] });
        return;
    }
    void client.invalidateQueries({ queryKey: key });
  };

  const checkpoints = kept.data?.items ?? none;
  const marks = useMemo(() => checkpoints.map(({ step, name }): Mark => ({ at: step, label: name })), [checkpoints]);
  return {
    job,
    live,
    doing,
    history,
    curves: curves.current,
    version,
    checkpoints,
    marks,
  };
}

const none: never[] = [];
const begun = (status: Job["status"]) => (status === "queued" ? "running" : status);

/** runner.metrics, of docs/runner-protocol.md: a step, and what it says of the job. */
type StepTold = MetricPoint & Pick<Job, "eta_seconds" | "eta_low_seconds" | "eta_high_seconds" | "memory_bytes">;

function fresh(told: StepTold): Partial<Job> {
  const {
    step,
    loss,
    learning_rate,
    grad_norm,
    tokens_per_second,
    eta_seconds,
    eta_low_seconds,
    eta_high_seconds,
    memory_bytes,
  } = told;
  return {
    step,
    loss,
    learning_rate,
    grad_norm,
    tokens_per_second,
    eta_seconds,
    eta_low_seconds,
    eta_high_seconds,
    memory_bytes,
  };
}

const firstSentence = (message: string) => message.split(". ")[0]!.replace(/\.$/, "");
