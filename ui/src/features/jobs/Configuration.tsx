import { Card, Facts } from "@/components/Card";
import { datasetHref } from "@/features/datasets/queries";
import { modelHref } from "@/features/models/queries";
import { pipelineHref } from "@/features/pipelines/queries";
import { count, moment } from "@/lib/format";
import type { Job } from "./queries";
import { type Setting, settings, shown, valueAt } from "./settings";

/** What a job was told, and where it ran. */
export default function Configuration({ job }: { job: Job }) {
  return (
    <div className="grid gap-5 lg:grid-cols-2">
      <Card title="What it does">
        <Facts
          items={settings.map((setting) => [setting.label, <Told key={setting.path} setting={setting} job={job} />])}
        />
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

/** What was said, and beside it what holds since a failure has changed it. */
function Told({ setting, job }: { setting: Setting; job: Job }) {
  const told = shown(setting, valueAt(job.config, setting.path));
  const now = adjusted(job)[setting.path];
  if (now === undefined) return told;
  return (
    <>
      {shown(setting, now)} <span className="text-ink-3">instead of {told}, after a failure</span>
    </>
  );
}

/** What failures have changed of a configuration, by the settings' paths. */
function adjusted({ adjusted, config }: Job): Partial<Record<string, number>> {
  const { learning_rate_scale: scale, batch_size, gradient_accumulation_steps } = adjusted ?? {};
  return { batch_size, gradient_accumulation_steps, learning_rate: scale && config.learning_rate * scale };
}

function Link({ href, text }: { href: string; text: string }) {
  return (
    <a href={href} className="break-all text-accent-ink hover:underline">
      {text}
    </a>
  );
}
