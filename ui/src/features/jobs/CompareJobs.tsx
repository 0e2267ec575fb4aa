"use client";

import { useQuery } from "@tanstack/react-query";
import { useRouter, useSearchParams } from "next/navigation";
import { lazy, Suspense, useMemo } from "react";
import { Card } from "@/components/Card";
import { cx } from "@/components/cx";
import { Field, Select } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Skeleton } from "@/components/Skeleton";
import { $api, api } from "@/lib/api/client";
import { many } from "@/lib/api/lists";
import { ago, count, measure } from "@/lib/format";
import { type MetricPoint, sideBySide } from "./curves";
import { type Job, jobHref, useJobs } from "./queries";
import { settings, shown, valueAt } from "./settings";

const Chart = lazy(() => import("@/components/Chart").then(({ Chart }) => ({ default: Chart })));

/** Two trainings beside each other: their curves on one chart, and what they were told differently. */
export function CompareJobs() {
  const router = useRouter();
  const params = useSearchParams();
  const jobs = useJobs({ limit: many });
  const [a, b] = [params.get("id") ?? "", params.get("with") ?? ""];
  const choose = (side: "id" | "with", id: string) => {
    const next = new URLSearchParams(params);
    next.set(side, id);
    router.replace(`/compare?${next}`, { scroll: false });
  };
  const items = jobs.data?.items ?? [];
  return (
    <Page title="Compare trainings" parent={{ href: "/jobs", label: "Training" }}>
      <div className="grid gap-5">
        <Card>
          {jobs.error && !jobs.data && <ErrorNotice error={jobs.error} onRetry={() => jobs.refetch()} />}
          <div className="grid gap-5 sm:grid-cols-2">
            <JobSelect label="This one" value={a} items={items} onChange={(id) => choose("id", id)} />
            <JobSelect label="Beside" value={b} items={items} onChange={(id) => choose("with", id)} />
          </div>
        </Card>
        {a && b && <Both key={`${a} ${b}`} a={a} b={b} />}
      </div>
    </Page>
  );
}

type JobSelectProps = { label: string; value: string; items: Job[]; onChange: (id: string) => void };

function JobSelect({ label, value, items, onChange }: JobSelectProps) {
  return (
    <Field label={label}>
      <Select value={value} onChange={(event) => onChange(event.target.value)}>
        <option value="">Choose a training</option>
        {items.map((job) => (
          <option key={job.id} value={job.id}>
            {job.name || job.id} ({ago(job.created_at)})
          </option>
        ))}
      </Select>
    </Field>
  );
}

function Both({ a, b }: { a: string; b: string }) {
  const one = useJob(a);
  const other = useJob(b);
  const error = one.error ?? other.error;
  if (error) return <ErrorNotice error={error} />;
  if (!one.job || !other.job) return <Skeleton className="h-96" />;
  return (
    <>
      <LossCard jobs={[one.job, other.job]} points={[one.points, other.points]} />
      <Differences jobs={[one.job, other.job]} />
    </>
  );
}

function useJob(id: string) {
  const job = $api.useQuery("get", "/api/training/{id}", { params: { path: { id } } });
  const metrics = useQuery({
    queryKey: ["points", id],
    queryFn: async ({ signal }) => {
      const params = { path: { id }, query: { max_points: 2_000 } };
      return (await api.GET("/api/training/{id}/metrics", { params, signal })).data!.points;
    },
  });
  return { job: job.data, points: metrics.data ?? [], error: job.error ?? metrics.error };
}

type Pair<T> = [T, T];

const colours = ["--chart-1", "--chart-2"];

function LossCard({ jobs, points }: { jobs: Pair<Job>; points: Pair<MetricPoint[]> }) {
  const [one, other] = points;
  const data = useMemo(() => sideBySide([one, other]), [one, other]);
  const lines = jobs.flatMap((job, i) => [
    { label: `${job.name || job.id} (${i === 0 ? "this" : "beside"})`, colour: colours[i]! },
    { label: "held out", colour: colours[i]!, points: true, faint: true },
  ]);
  return (
    <Card title="Loss" note="Of training, smoothed, and of the held-out rows." flush>
      <div className="px-2 pb-3 sm:px-4">
        {data[0].length === 0 ? (
          <p className="flex h-72 items-center justify-center text-ink-3">Neither has ended a step yet.</p>
        ) : (
          <Suspense fallback={<Skeleton className="h-72" />}>
            <Chart label={`Loss of ${jobs[0].name} and ${jobs[1].name}`} lines={lines} data={data} />
          </Suspense>
        )}
      </div>
    </Card>
  );
}

const results: [string, (job: Job) => string][] = [
  ["Base model", (job) => job.model_id],
  ["Dataset", (job) => job.dataset_id],
  ["Steps", (job) => `${count(job.step)} of ${count(job.total_steps)}`],
  ["Loss", (job) => measure(job.loss || undefined)],
  ["Held-out loss", (job) => measure(job.eval_loss || undefined)],
  ["Tokens a second", (job) => count(job.tokens_per_second || undefined)],
];

function Differences({ jobs }: { jobs: Pair<Job> }) {
  const told = settings.map((setting): [string, (job: Job) => string] => [
    setting.label,
    (job) => shown(setting, valueAt(job.config, setting.path)),
  ]);
  return (
    <Card title="What they are" note="What differs is marked." flush>
      <div className="scroll-x">
        <table className="w-full min-w-md text-left text-sm">
          <thead>
            <tr className="border-line border-b text-ink-3">
              <th scope="col" className="px-4 py-2 font-medium sm:px-5">
                Setting
              </th>
              {jobs.map((job, i) => (
                <th key={i} scope="col" className="px-4 py-2 font-medium">
                  <a href={jobHref(job.id)} className="text-accent-ink hover:underline">
                    {job.name || job.id}
                  </a>
                </th>
              ))}
            </tr>
          </thead>
          <tbody className="divide-y divide-line">
            {[...results, ...told].map(([name, of]) => {
              const [left, right] = [of(jobs[0]), of(jobs[1])];
              return (
                <tr key={name} className={cx(left !== right && "bg-accent-soft")}>
                  <th scope="row" className="px-4 py-2 font-normal text-ink-2 sm:px-5">
                    {name}
                  </th>
                  <td className={cx("tabular px-4 py-2", left !== right && "font-medium")}>{left}</td>
                  <td className={cx("tabular px-4 py-2", left !== right && "font-medium")}>{right}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </Card>
  );
}
