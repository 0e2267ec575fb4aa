"use client";

import { Database, Upload as UploadIcon, X } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { useState } from "react";
import { Button, IconButton } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { TagFilter } from "@/features/life/TagFilter";
import { bytes, plural } from "@/lib/format";
import { byTimeAndName, useListing } from "@/lib/listing";
import { type StatusGroups, statusOf, statusOptions } from "@/lib/statuses";
import { type Dataset, datasetHref, formats, useDatasets } from "./queries";
import { Upload } from "./Upload";

const statuses: StatusGroups = {
  ready: ["Ready", ["ready"]],
  reading: ["Being read", ["queued", "running"]],
  failed: ["Failed", ["failed"]],
};

export function DatasetList() {
  const router = useRouter();
  const [uploading, setUploading] = useState(useSearchParams().has("upload"));
  const list = useListing("status", "tag");
  const datasets = useDatasets({
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTimeAndName),
    status: statusOf(list, statuses),
    tag: list.all("tag"),
  });
  const open = (dataset: Dataset) => router.push(datasetHref(dataset.id));
  return (
    <Page
      title="Datasets"
      actions={
        <Button
          variant="primary"
          icon={<UploadIcon aria-hidden className="size-4" />}
          onClick={() => setUploading(true)}
        >
          Upload
        </Button>
      }
    >
      {uploading && (
        <Card
          title="Upload a dataset"
          note="The layout of the rows is recognised; what cannot be used is named by line."
          className="mb-5"
          actions={
            <IconButton label="Close" onClick={() => setUploading(false)}>
              <X aria-hidden className="size-4" />
            </IconButton>
          }
        >
          <Upload onDone={open} />
        </Card>
      )}
      <Listing
        list={list}
        query={datasets}
        search="Search by name"
        orders={byTimeAndName}
        filters={
          <>
            <Filter list={list} name="status" label="Status" any="Any status" options={statusOptions(statuses)} />
            <TagFilter list={list} />
          </>
        }
        empty={
          <Empty
            icon={Database}
            title="No dataset yet"
            action={<Button onClick={() => setUploading(true)}>Upload a file</Button>}
          >
            Questions with answers, conversations, instructions or plain text. VibeFlow recognises the layout and says
            what it cannot use.
          </Empty>
        }
      >
        {(items) => (
          <List label="Datasets">
            {items.map((dataset) => (
              <DatasetRow key={dataset.id} dataset={dataset} />
            ))}
          </List>
        )}
      </Listing>
    </Page>
  );
}

function DatasetRow({ dataset }: { dataset: Dataset }) {
  const format = dataset.format ? (formats[dataset.format] ?? dataset.format) : "not read yet";
  return (
    <Row
      href={datasetHref(dataset.id)}
      title={dataset.name}
      note={`${format} · ${bytes(dataset.size)}`}
      at={dataset.created_at}
    >
      {dataset.rows ? <span className="tabular text-ink-3 text-sm">{plural(dataset.rows, "row")}</span> : null}
      <StatusBadge status={dataset.status} label={dataset.status === "running" ? "Reading" : undefined} />
    </Row>
  );
}
