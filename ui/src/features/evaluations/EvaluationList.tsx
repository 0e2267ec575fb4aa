"use client";

import { Scale } from "lucide-react";
import { ButtonLink } from "@/components/Button";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Filter, Listing } from "@/components/Listing";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { DatasetFilter } from "@/features/datasets/DatasetFilter";
import { useModelNames } from "@/features/models/queries";
import { measure } from "@/lib/format";
import { byTime, useListing } from "@/lib/listing";
import { type StatusGroups, statusOf, statusOptions } from "@/lib/statuses";
import { type Evaluation, evaluationHref, useEvaluations } from "./queries";
import { Verdict } from "./Verdict";

const statuses: StatusGroups = {
  active: ["Active", ["queued", "running", "cancelling"]],
  done: ["Done", ["completed"]],
  failed: ["Failed", ["failed"]],
  cancelled: ["Cancelled", ["cancelled"]],
};

export function EvaluationList() {
  const list = useListing("status", "dataset", "model");
  const evaluations = useEvaluations({
    q: list.q,
    cursor: list.cursor,
    sort: list.oneOf("sort", byTime),
    status: statusOf(list, statuses),
    dataset_id: list.get("dataset"),
    model_id: list.get("model"),
  });
  const nameOf = useModelNames();
  return (
    <Page title="Evaluations" note="Tuned models beside their bases, on rows that neither was trained on.">
      <Listing
        list={list}
        query={evaluations}
        search="Search by model"
        orders={byTime}
        filters={
          <>
            <Filter list={list} name="status" label="Status" any="Any status" options={statusOptions(statuses)} />
            <DatasetFilter list={list} />
          </>
        }
        empty={
          <Empty
            icon={Scale}
            title="Nothing has been compared yet"
            action={<ButtonLink href="/models">Choose a model</ButtonLink>}
          >
            An evaluation says whether a tuned model is better than its base, and how sure that is.
          </Empty>
        }
      >
        {(items) => (
          <List label="Evaluations">
            {items.map((evaluation) => (
              <EvaluationRow key={evaluation.id} evaluation={evaluation} title={nameOf(evaluation.model_id)} />
            ))}
          </List>
        )}
      </Listing>
    </Page>
  );
}

function EvaluationRow({ evaluation, title }: { evaluation: Evaluation; title: string }) {
  const { id, status, result, created_at } = evaluation;
  return (
    <Row href={evaluationHref(id)} title={title} at={created_at}>
      {status === "completed" && result ? (
        <>
          <span className="tabular text-ink-3 text-sm">
            loss {measure(result.loss_base)} → {measure(result.loss_tuned)}
          </span>
          <Verdict verdict={result.verdict} />
        </>
      ) : (
        <StatusBadge status={status} />
      )}
    </Row>
  );
}
