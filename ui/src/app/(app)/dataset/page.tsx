"use client";

import { DatasetPage } from "@/features/datasets/DatasetPage";
import { ById } from "@/features/shell/ById";

export default function DatasetRoute() {
  return <ById>{(id) => <DatasetPage key={id} id={id} />}</ById>;
}
