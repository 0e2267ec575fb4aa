"use client";

import { DeploymentPage } from "@/features/deployments/DeploymentPage";
import { ById } from "@/features/shell/ById";

export default function DeploymentRoute() {
  return <ById>{(id) => <DeploymentPage key={id} id={id} />}</ById>;
}
