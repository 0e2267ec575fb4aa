"use client";

import { ArrowRight, SlidersHorizontal } from "lucide-react";
import { lazy } from "react";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Id } from "@/components/Code";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { isMoving, StatusBadge } from "@/components/Status";
import { Tabs } from "@/components/Tabs";
import { DeleteButton } from "@/features/life/Delete";
import { deleteDataset } from "@/features/life/deletions";
import { Said } from "@/features/life/Said";
import { PageSkeleton } from "@/features/shell/ById";
import { useTab } from "@/lib/address";
import { bytes, moment } from "@/lib/format";
import { ProfileView } from "./ProfileView";
import { type Dataset, formats, isCounted, profileOf, useDataset } from "./queries";
import { Reading } from "./Reading";
import { Unusable } from "./Unusable";

// What is behind the other tabs is loaded when they are opened.
const Rows = lazy(() => import("./Rows").then(({ Rows }) => ({ default: Rows })));
const Processing = lazy(() => import("./Processing").then(({ Processing }) => ({ default: Processing })));

const parent = { href: "/datasets", label: "Datasets" };

export function DatasetPage({ id }: { id: string }) {
  const query = useDataset(id);
  if (query.error && !query.data) {
    return (
      <Page title="Dataset" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  return <Loaded dataset={query.data} />;
}

function Loaded({ dataset }: { dataset: Dataset }) {
  const profile = profileOf(dataset);
  const [tab, setTab] = useTab(dataset.status === "failed" && !isCounted(profile) ? "processing" : "profile");
  const ready = dataset.status === "ready";
  return (
    <Page
      title={dataset.name}
      parent={parent}
      aside={<StatusBadge status={dataset.status} label={dataset.status === "running" ? "Reading" : undefined} />}
      note={
        <span className="flex flex-wrap items-center gap-x-3 gap-y-1 text-ink-3 text-sm">
          {dataset.format && <span>{formats[dataset.format] ?? dataset.format}</span>}
          <span>{bytes(dataset.size)}</span>
          <span>{moment(dataset.created_at)}</span>
          <Id id={dataset.id} />
        </span>
      }
      actions={
        <>
          {ready && (
            <>
              <ButtonLink
                href={`/train?dataset=${dataset.id}`}
                icon={<SlidersHorizontal aria-hidden className="size-4" />}
              >
                Configure a training
              </ButtonLink>
              <ButtonLink
                href={`/new?dataset=${dataset.id}`}
                variant="primary"
                icon={<ArrowRight aria-hidden className="size-4" />}
              >
                Make a model
              </ButtonLink>
            </>
          )}
          {!isMoving(dataset.status) && (
            <DeleteButton name={dataset.name} remove={deleteDataset(dataset.id)} back="/datasets" />
          )}
        </>
      }
    >
      <div className="grid gap-5">
        <Said edit={{ kind: "dataset", id: dataset.id }} said={dataset} list="/datasets" />
        {dataset.status === "failed" && <Unusable dataset={dataset} />}
        {isMoving(dataset.status) && (
          <Card>
            <Reading dataset={dataset} />
          </Card>
        )}
        <Tabs
          label="Dataset"
          value={tab}
          onChange={setTab}
          tabs={[
            {
              value: "profile",
              label: "Profile",
              content: isCounted(profile) ? (
                <ProfileView dataset={dataset} profile={profile} />
              ) : (
                <p className="text-ink-3">
                  {isMoving(dataset.status) ? "The profile comes once every row was read." : "There is no profile."}
                </p>
              ),
            },
            { value: "rows", label: "Rows", content: <Rows dataset={dataset} /> },
            {
              value: "processing",
              label: "Columns and split",
              content: <Processing key={dataset.updated_at} dataset={dataset} profile={profile} />,
            },
          ]}
        />
      </div>
    </Page>
  );
}
