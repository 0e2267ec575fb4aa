"use client";

import { Scale } from "lucide-react";
import { Async } from "@/components/Async";
import { ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Empty } from "@/components/Empty";
import { List, Row } from "@/components/List";
import { Page } from "@/components/Page";
import { StatusBadge } from "@/components/Status";
import { useModelNames } from "@/features/models/queries";
import { ago, measure } from "@/lib/format";
import { evaluationHref, useEvaluations } from "./queries";
import { Verdict } from "./Verdict";

export function EvaluationList() {
  const evaluations = useEvaluations();
  const nameOf = useModelNames();
  return (
    <Page title="Evaluations" note="Tuned models beside their bases, on rows that neither was trained on.">
      <Card flush>
        <Async
          query={evaluations}
          empty={{
            when: ({ items }) => items.length === 0,
            show: (
              <Empty
                icon={Scale}
                title="Nothing has been compared yet"
                action={<ButtonLink href="/models">Choose a model</ButtonLink>}
              >
                An evaluation says whether a tuned model is better than its base, and how sure that is.
              </Empty>
            ),
          }}
        >
          {({ items }) => (
            <List label="Evaluations">
              {items.map((evaluation) => (
                <Row
                  key={evaluation.id}
                  href={evaluationHref(evaluation.id)}
                  title={nameOf(evaluation.model_id)}
                  note={ago(evaluation.created_at)}
                >
                  {evaluation.status === "completed" && evaluation.result ? (
                    <>
                      <span className="tabular text-ink-3 text-sm">
                        loss {measure(evaluation.result.loss_base)} → {measure(evaluation.result.loss_tuned)}
                      </span>
                      <Verdict verdict={evaluation.result.verdict} />
                    </>
                  ) : (
                    <StatusBadge status={evaluation.status} />
                  )}
                </Row>
              ))}
            </List>
          )}
        </Async>
      </Card>
    </Page>
  );
}
