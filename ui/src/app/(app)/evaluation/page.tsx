"use client";

import { EvaluationPage } from "@/features/evaluations/EvaluationPage";
import { ById } from "@/features/shell/ById";

export default function EvaluationRoute() {
  return <ById>{(id) => <EvaluationPage key={id} id={id} />}</ById>;
}
