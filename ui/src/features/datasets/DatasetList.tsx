"use client";

import { Database, Upload as UploadIcon } from "lucide-react";
import { useRouter, useSearchParams } from "next/navigation";
import { useState } from "react";
import { Async } from "@/components/Async";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Dialog } from "@/components/Dialog";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { ago, bytes, plural } from "@/lib/format";
import { type Dataset, datasetHref, formats, useDatasets } from "./queries";
import { Upload } from "./Upload";

export function DatasetList() {
  const router = useRouter();
  const [uploading, setUploading] = useState(useSearchParams().has("upload"));
  const datasets = useDatasets();
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
      <Card flush>
        <Async
          query={datasets}
          empty={{
            when: ({ items }) => items.length === 0,
            show: (
              <Empty
                icon={Database}
                title="No dataset yet"
                action={<Button onClick={() => setUploading(true)}>Upload a file</Button>}
              >
                Questions with answers, conversations, instructions or plain text. VibeFlow recognises the layout and
                says what it cannot use.
              </Empty>
            ),
          }}
        >
          {({ items }) => (
            <List label="Datasets">
              {items.map((dataset) => (
                <DatasetRow key={dataset.id} dataset={dataset} />
              ))}
            </List>
          )}
        </Async>
      </Card>
      <Dialog
        open={uploading}
        onClose={() => setUploading(false)}
        title="Upload a dataset"
        description="The layout of the rows is recognised; what cannot be used is named by line."
        size="md"
      >
        <Upload onDone={open} />
      </Dialog>
    </Page>
  );
}

function DatasetRow({ dataset }: { dataset: Dataset }) {
  return (
    <Row
      href={datasetHref(dataset.id)}
      title={dataset.name}
      note={`${dataset.format ? (formats[dataset.format] ?? dataset.format) : "not read yet"} · ${bytes(dataset.size)} · ${ago(dataset.created_at)}`}
    >
      {dataset.rows ? <span className="tabular text-ink-3 text-sm">{plural(dataset.rows, "row")}</span> : null}
      <StatusBadge status={dataset.status} label={dataset.status === "running" ? "Reading" : undefined} />
    </Row>
  );
}
