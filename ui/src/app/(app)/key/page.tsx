"use client";

import { KeyPage } from "@/features/keys/KeyPage";
import { ById } from "@/features/shell/ById";

export default function KeyRoute() {
  return <ById>{(id) => <KeyPage key={id} id={id} />}</ById>;
}
