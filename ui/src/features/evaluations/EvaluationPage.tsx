"use client";

import { MessagesSquare, X } from "lucide-react";
import { useState } from "react";
import { Async } from "@/components/Async";
import { Button, ButtonLink } from "@/components/Button";
import { Card, Facts, Stat, Stats } from "@/components/Card";
import { Id } from "@/components/Code";
import { cx } from "@/components/cx";
import { ErrorNotice, RunErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Progress } from "@/components/Progress";
import { Segmented } from "@/components/Segmented";
import { isMoving, StatusBadge } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { datasetHref } from "@/features/datasets/queries";
import { DeleteButton } from "@/features/life/Delete";
import { deleteEvaluation } from "@/features/life/deletions";
import { modelHref, useModel } from "@/features/models/queries";
import { PageSkeleton } from "@/features/shell/ById";
import { $api } from "@/lib/api/client";
import { count, duration, measure, moment, plural, share } from "@/lib/format";
import { phaseWords } from "@/lib/phases";
import { Interval } from "./Interval";
import { type Evaluation, type EvaluationResult, type Sample, useEvaluation } from "./queries";
import { Verdict } from "./Verdict";

const parent = { href: "/evaluations", label: "Evaluations" };

export function EvaluationPage({ id }: { id: string }) {
  const query = useEvaluation(id);
  const model = useModel(query.data?.model_id ?? "").data;
  if (query.error && !query.data) {
    return (
      <Page title="Evaluation" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  const evaluation = query.data;
  const done = evaluation.status === "completed" && evaluation.result !== undefined;
  return (
    <Page
      title={model ? `${model.name} beside its base` : "Tuned beside base"}
      parent={parent}
      aside={done ? <Verdict verdict={evaluation.result?.verdict} /> : <StatusBadge status={evaluation.status} />}
      note={<Id id={evaluation.id} />}
      actions={<Actions evaluation={evaluation} />}
    >
      <div className="grid gap-5">
        {evaluation.status === "failed" && <RunErrorNotice error={evaluation.error} title="The evaluation failed" />}
        {isMoving(evaluation.status) && <Running evaluation={evaluation} />}
        {done && <Result evaluation={evaluation} result={evaluation.result!} />}
        {done && <Samples id={evaluation.id} />}
      </div>
    </Page>
  );
}

function Actions({ evaluation }: { evaluation: Evaluation }) {
  const cancel = $api.useMutation("post", "/api/evaluation/{id}/cancel");
  if (evaluation.status === "queued" || evaluation.status === "running") {
    return (
      <Button
        icon={<X aria-hidden className="size-4" />}
        busy={cancel.isPending}
        onClick={() =>
          cancel.mutate(
            { params: { path: { id: evaluation.id } } },
            { onError: (e) => toast.bad("It was not cancelled", e) },
          )
        }
      >
        Cancel
      </Button>
    );
  }
  return (
    <>
      <ButtonLink href={modelHref(evaluation.model_id)} icon={<MessagesSquare aria-hidden className="size-4" />}>
        Go to the model
      </ButtonLink>
      {evaluation.status !== "cancelling" && (
        <DeleteButton name="this evaluation" remove={deleteEvaluation(evaluation.id)} back="/evaluations" />
      )}
    </>
  );
}

function Running({ evaluation }: { evaluation: Evaluation }) {
  const { phase, done = 0, total = 0, eta_seconds } = evaluation.progress ?? {};
  return (
    <Card>
      <p className="mb-2 flex justify-between gap-4">
        <span className="font-medium">
          {evaluation.status === "queued" ? "Waiting for a slot" : phase ? phaseWords(phase) : "Starting"}
        </span>
        <span className="tabular text-ink-3">
          {total > 0 && `${count(done)} of ${count(total)}`}
          {eta_seconds ? ` · ${duration(eta_seconds)} left` : ""}
        </span>
      </p>
      <Progress value={total > 0 ? done / total : undefined} label="Evaluation" />
    </Card>
  );
}

function Result({ evaluation, result }: { evaluation: Evaluation; result: EvaluationResult }) {
  return (
    <Card title="Verdict" note={result.verdict_text}>
      <div className="grid gap-6">
        <Interval result={result} />
        <Stats>
          <Stat
            label="Loss, base → tuned"
            value={`${measure(result.loss_base)} → ${measure(result.loss_tuned)}`}
            note="nats a token; lower is better"
          />
          <Stat
            label="Rows improved"
            value={result.rows > 0 ? share((result.rows_improved ?? 0) / result.rows) : "–"}
            note={`of ${plural(result.rows, "held-out row")}`}
          />
          <Stat
            label="ROUGE-L, base → tuned"
            value={`${measure(result.rouge_l_base, 2)} → ${measure(result.rouge_l_tuned, 2)}`}
            note={`of ${plural(result.generations ?? 0, "answer")}`}
          />
          <Stat
            label="Exact answers"
            value={`${share(result.exact_match_base)} → ${share(result.exact_match_tuned)}`}
            note={`of ${plural(result.generations ?? 0, "answer")}`}
          />
        </Stats>
        <details>
          <summary className="text-ink-2 text-sm">How it was measured</summary>
          <div className="mt-3">
            <Facts
              items={[
                [
                  "Model",
                  <a
                    key="m"
                    className="break-all text-accent-ink hover:underline"
                    href={modelHref(evaluation.model_id)}
                  >
                    {evaluation.model_id}
                  </a>,
                ],
                [
                  "Held-out rows of",
                  <a
                    key="d"
                    className="break-all text-accent-ink hover:underline"
                    href={datasetHref(evaluation.dataset_id)}
                  >
                    {evaluation.dataset_id}
                  </a>,
                ],
                ["Tokens scored", count(result.tokens)],
                ["Perplexity", `${measure(result.perplexity_base)} → ${measure(result.perplexity_tuned)}`],
                ["Interval", "Paired bootstrap over rows, 95 %"],
                ["Precision", result.precision ?? "–"],
                ["Took", duration(result.seconds)],
                ["Finished", moment(evaluation.completed_at)],
              ]}
            />
          </div>
        </details>
      </div>
    </Card>
  );
}

type Order = "worst" | "best" | "file";

function Samples({ id }: { id: string }) {
  const comparison = $api.useQuery("get", "/api/evaluation/{id}/compare", { params: { path: { id } } });
  const [order, setOrder] = useState<Order>("worst");
  return (
    <Card
      title="Answers side by side"
      note="Held-out rows that both models answered."
      flush
      actions={
        <Segmented
          label="Order"
          value={order}
          onChange={setOrder}
          options={[
            { value: "worst", label: "Regressions first" },
            { value: "best", label: "Gains first" },
            { value: "file", label: "As in the file" },
          ]}
        />
      }
    >
      <Async
        query={comparison}
        empty={{
          when: ({ samples }) => samples.length === 0,
          show: <p className="p-5 text-ink-3">No answers were asked for.</p>,
        }}
      >
        {({ samples }) => (
          <ol className="divide-y divide-line border-line border-t">
            {inOrder(samples, order).map((sample) => (
              <SampleItem key={sample.row} sample={sample} />
            ))}
          </ol>
        )}
      </Async>
    </Card>
  );
}

const change = (sample: Sample) => (sample.loss_tuned ?? 0) - (sample.loss_base ?? 0);

function inOrder(samples: Sample[], order: Order): Sample[] {
  if (order === "file") return samples.toSorted((a, b) => a.row - b.row);
  return samples.toSorted((a, b) => (order === "worst" ? change(b) - change(a) : change(a) - change(b)));
}

function SampleItem({ sample }: { sample: Sample }) {
  const delta = change(sample);
  return (
    <li className="grid gap-3 px-4 py-4 sm:px-5">
      <div className="flex flex-wrap items-baseline justify-between gap-x-4">
        <p className="min-w-0 flex-1 basis-72 whitespace-pre-wrap break-words font-medium">{sample.prompt}</p>
        <span className={cx("tabular text-sm", delta > 0 ? "text-bad" : delta < 0 ? "text-good" : "text-ink-3")}>
          {delta === 0 ? "the same" : `${delta > 0 ? "worse" : "better"} by ${measure(Math.abs(delta), 3)}`}
        </span>
      </div>
      <div className="grid gap-3 md:grid-cols-3">
        <Answer who="Base" text={sample.answer_base} note={`loss ${measure(sample.loss_base)}`} />
        <Answer who="Tuned" text={sample.answer_tuned} note={`loss ${measure(sample.loss_tuned)}`} strong />
        <Answer who="Expected" text={sample.reference} />
      </div>
    </li>
  );
}

function Answer({ who, text, note, strong }: { who: string; text: string; note?: string; strong?: boolean }) {
  return (
    <div className={cx("min-w-0 rounded p-3", strong ? "bg-accent-soft" : "bg-sunken")}>
      <p className="mb-1 flex justify-between gap-2 text-ink-3 text-xs">
        <span className="font-medium text-ink-2">{who}</span>
        {note && <span className="tabular">{note}</span>}
      </p>
      <p className="whitespace-pre-wrap [overflow-wrap:anywhere]">{text || <em className="text-ink-3">nothing</em>}</p>
    </div>
  );
}
