"use client";

import { ProjectPage } from "@/features/projects/ProjectPage";
import { ById } from "@/features/shell/ById";

export default function ProjectRoute() {
  return <ById>{(id) => <ProjectPage key={id} id={id} />}</ById>;
}
