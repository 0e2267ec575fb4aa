"use client";

import { ModelPage } from "@/features/models/ModelPage";
import { ById } from "@/features/shell/ById";

export default function ModelRoute() {
  return <ById>{(id) => <ModelPage key={id} id={id} />}</ById>;
}
