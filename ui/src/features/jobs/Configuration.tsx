import { Card, Facts } from "@/components/Card";
import { datasetHref } from "@/features/datasets/queries";
import { modelHref } from "@/features/models/queries";
import { pipelineHref } from "@/features/pipelines/queries";
import { count, moment } from "@/lib/format";
import type { Job } from "./queries";
import { settings, shown, valueAt } from "./settings";

/** What a job was told, and where it ran. */
export function Configuration({ job }: { job: Job }) {
  return (
    <div className="grid gap-5 lg:grid-cols-2">
      <Card title="What it does">
        <Facts items={settings.map((setting) => [setting.label, shown(setting, valueAt(job.config, setting.path))])} />
      </Card>
      <Card title="Where">
        <Facts
          items={[
            ["Dataset", <Link key="d" href={datasetHref(job.dataset_id)} text={job.dataset_id} />],
            ["Base model", <Link key="m" href={modelHref(job.model_id)} text={job.model_id} />],
            [
              "Made",
              job.tuned_model_id ? (
                <Link key="t" href={modelHref(job.tuned_model_id)} text={job.tuned_model_id} />
              ) : (
                "–"
              ),
            ],
            [
              "Pipeline",
              job.pipeline_id ? <Link key="p" href={pipelineHref(job.pipeline_id)} text={job.pipeline_id} /> : "–",
            ],
            ["Queue", job.queue ?? "–"],
            ["Worker", job.worker ?? "–"],
            ["Device", [job.device, job.precision].filter(Boolean).join(", ") || "–"],
            ["Launches", count(job.epoch)],
            ["Started", moment(job.started_at)],
            ["Ended", moment(job.completed_at)],
          ]}
        />
      </Card>
    </div>
  );
}

function Link({ href, text }: { href: string; text: string }) {
  return (
    <a href={href} className="break-all text-accent-ink hover:underline">
      {text}
    </a>
  );
}
