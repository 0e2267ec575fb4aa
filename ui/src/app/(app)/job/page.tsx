"use client";

import { JobPage } from "@/features/jobs/JobPage";
import { ById } from "@/features/shell/ById";

export default function JobRoute() {
  return <ById>{(id) => <JobPage key={id} id={id} />}</ById>;
}
