"use client";

import { GitCompareArrows, X } from "lucide-react";
import Link from "next/link";
import { useRouter, useSearchParams } from "next/navigation";
import { lazy, Suspense, useMemo } from "react";
import { IconButton } from "@/components/Button";
import { Card } from "@/components/Card";
import { cx } from "@/components/cx";
import { Empty } from "@/components/Empty";
import { Field, Select } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Skeleton } from "@/components/Skeleton";
import { isMoving } from "@/components/Status";
import { $api } from "@/lib/api/client";
import { keepPage, many } from "@/lib/api/lists";
import { ago } from "@/lib/format";
import { sideBySide } from "./curves";
import { type Run, useJobs } from "./queries";
import { RunTable } from "./RunTable";

const Chart = lazy(() => import("@/components/Chart").then(({ Chart }) => ({ default: Chart })));

const most = 8;
const pointsOfACurve = 1_000;

/** Trainings beside each other, as the address names them: their curves, what came of them, and what they were told. */
export function CompareJobs() {
  const router = useRouter();
  const ids = [...new Set(useSearchParams().getAll("id"))].slice(0, most);
  const choose = (next: string[]) =>
    router.replace(`/compare?${new URLSearchParams(next.map((id) => ["id", id]))}`, { scroll: false });
  const comparison = $api.useQuery(
    "get",
    "/api/training/compare",
    { params: { query: { id: ids, max_points: pointsOfACurve } } },
    {
      enabled: ids.length > 1,
      refetchInterval: ({ state }) => state.data?.runs.some(({ status }) => isMoving(status)) && 5_000,
      ...keepPage,
    },
  );
  return (
    <Page
      title="Compare trainings"
      parent={{ href: "/jobs", label: "Training" }}
      note="Curves over the same steps, what came of each, and what they were told differently."
    >
      <div className="grid gap-5">
        <Chosen ids={ids} onChange={choose} />
        {ids.length < 2 ? (
          <Card>
            <Empty icon={GitCompareArrows} title={ids.length === 0 ? "Choose two trainings" : "Choose one more"}>
              Up to {most} stand beside each other. The address keeps the choice, to come back to or to hand on.
            </Empty>
          </Card>
        ) : comparison.data ? (
          <div className={cx("grid gap-5 transition-opacity", comparison.isPlaceholderData && "opacity-55")}>
            <LossCard runs={comparison.data.runs} />
            <RunTable comparison={comparison.data} />
          </div>
        ) : comparison.error ? (
          <ErrorNotice error={comparison.error} onRetry={() => comparison.refetch()} />
        ) : (
          <Skeleton className="h-96" />
        )}
      </div>
    </Page>
  );
}

type ChosenProps = { ids: string[]; onChange: (ids: string[]) => void };

/** Which trainings are compared; each in the colour of its curve. */
function Chosen({ ids, onChange }: ChosenProps) {
  const jobs = useJobs({ limit: many });
  const items = jobs.data?.items ?? [];
  const others = items.filter(({ id }) => !ids.includes(id));
  return (
    <Card>
      {jobs.error && !jobs.data && <ErrorNotice error={jobs.error} onRetry={() => jobs.refetch()} className="mb-4" />}
      <div className="flex flex-wrap items-end gap-3">
        {ids.length < most && (
          <Field label="Add a training" className="basis-72">
            <Select
              value=""
              disabled={!jobs.data}
              onChange={(event) => event.target.value && onChange([...ids, event.target.value])}
            >
              <option value="">{others.length > 0 || !jobs.data ? "Choose a training" : "There is no other"}</option>
              {others.map((job) => (
                <option key={job.id} value={job.id}>
                  {job.name || job.id} ({ago(job.created_at)})
                </option>
              ))}
            </Select>
          </Field>
        )}
        <ul aria-label="Compared" className="flex min-w-0 flex-wrap gap-2">
          {ids.map((id, i) => {
            const name = items.find((job) => job.id === id)?.name || id;
            return (
              <li
                key={id}
                className="flex h-9 min-w-0 items-center gap-2 rounded border border-line bg-surface pl-3 text-sm shadow-card"
              >
                <span aria-hidden className={cx("size-2.5 shrink-0 rounded-sm", looks[i])} />
                <Link href={`/job?id=${id}`} prefetch={false} className="max-w-52 truncate hover:text-accent-ink">
                  {name}
                </Link>
                <IconButton
                  label={`Leave ${name} out`}
                  className="size-8"
                  onClick={() => onChange(ids.filter((other) => other !== id))}
                >
                  <X aria-hidden className="size-4" />
                </IconButton>
              </li>
            );
          })}
        </ul>
      </div>
    </Card>
  );
}

// Whole words, so that Tailwind finds them.
const looks = [
  "bg-chart-1",
  "bg-chart-2",
  "bg-chart-3",
  "bg-chart-4",
  "bg-chart-5",
  "bg-chart-6",
  "bg-chart-7",
  "bg-chart-8",
];

function LossCard({ runs }: { runs: Run[] }) {
  const data = useMemo(() => sideBySide(runs.map(({ points }) => points)), [runs]);
  const lines = runs.flatMap((run, i) => [
    { label: run.name || run.id, colour: `--chart-${i + 1}` },
    { label: "held out", colour: `--chart-${i + 1}`, points: true, faint: true },
  ]);
  return (
    <Card title="Loss" note="Of training, smoothed, and of the held-out rows." flush>
      <div className="px-2 pb-3 sm:px-4">
        {data[0].length === 0 ? (
          <p className="flex h-72 items-center justify-center text-ink-3">None of them has ended a step yet.</p>
        ) : (
          <Suspense fallback={<Skeleton className="h-72" />}>
            <Chart label={`Loss of ${runs.map(({ name, id }) => name || id).join(", ")}`} lines={lines} data={data} />
          </Suspense>
        )}
      </div>
    </Card>
  );
}
