"use client";

import { MessagesSquare, Scale, SlidersHorizontal } from "lucide-react";
import { useRouter } from "next/navigation";
import { Async } from "@/components/Async";
import { Badge } from "@/components/Badge";
import { Button, ButtonLink } from "@/components/Button";
import { Card, Facts } from "@/components/Card";
import { Id } from "@/components/Code";
import { List, Row } from "@/components/List";
import { ErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { SkeletonRows } from "@/components/Skeleton";
import { StatusBadge } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { deploymentHref, useDeployments } from "@/features/deployments/queries";
import { type Evaluation, evaluationHref, useEvaluations } from "@/features/evaluations/queries";
import { Verdict } from "@/features/evaluations/Verdict";
import { DeleteButton } from "@/features/life/Delete";
import { deleteModel } from "@/features/life/deletions";
import { Said } from "@/features/life/Said";
import { PageSkeleton } from "@/features/shell/ById";
import { $api } from "@/lib/api/client";
import { ago, bytes, count, measure, moment, plural, shortCount } from "@/lib/format";
import { Exports } from "./Exports";
import { type Model, methodOf, modelHref, originOf, useModel } from "./queries";

const parent = { href: "/models", label: "Models" };

export function ModelPage({ id }: { id: string }) {
  const query = useModel(id);
  if (query.error && !query.data) {
    return (
      <Page title="Model" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  const model = query.data;
  return (
    <Page
      title={model.name}
      parent={parent}
      aside={
        <Badge tone={model.kind === "tuned" ? "accent" : "neutral"}>{model.kind === "tuned" ? "tuned" : "base"}</Badge>
      }
      note={model.description || <Id id={model.id} />}
      actions={<Actions model={model} />}
    >
      <div className="grid gap-5 lg:grid-cols-[1fr_20rem]">
        <div className="empty:hidden lg:col-span-2">
          <Said edit={isOwn(model) ? { kind: "model", id: model.id } : undefined} said={model} list="/models" />
        </div>
        <div className="grid min-w-0 content-start gap-5">
          {model.kind === "tuned" ? (
            <>
              <Evaluations model={model} />
              <Exports model={model} />
            </>
          ) : (
            <Card title="What it is">
              <BaseFacts model={model} />
            </Card>
          )}
        </div>
        <div className="grid min-w-0 content-start gap-5">
          {model.kind === "tuned" && (
            <Card title="Where it comes from">
              <TunedFacts model={model} />
            </Card>
          )}
          <Deployments model={model} />
        </div>
      </div>
    </Page>
  );
}

/** A model of the catalog is everybody's. */
const isOwn = ({ kind, source }: Model) => kind === "tuned" || source === "upload";

function Actions({ model }: { model: Model }) {
  const router = useRouter();
  const deploy = $api.useMutation("post", "/api/deployments");
  const evaluate = $api.useMutation("post", "/api/evaluation/start");
  const live = useDeployments({ model_id: model.id }).data?.items.find(({ status }) => status === "serving");
  const train = `/train?model=${encodeURIComponent(model.id)}`;
  if (model.kind === "base") {
    return (
      <ButtonLink href={train} variant="primary" icon={<SlidersHorizontal aria-hidden className="size-4" />}>
        Train it
      </ButtonLink>
    );
  }
  const body = { model_id: model.id };
  return (
    <>
      <ButtonLink href={train} icon={<SlidersHorizontal aria-hidden className="size-4" />}>
        Train further
      </ButtonLink>
      <Button
        icon={<Scale aria-hidden className="size-4" />}
        busy={evaluate.isPending}
        onClick={() =>
          evaluate.mutate(
            { body },
            {
              onSuccess: ({ id }) => router.push(evaluationHref(id)),
              onError: (e) => toast.bad("The evaluation was not started", e),
            },
          )
        }
      >
        Evaluate
      </Button>
      {live ? (
        <ButtonLink
          href={deploymentHref(live.id)}
          variant="primary"
          icon={<MessagesSquare aria-hidden className="size-4" />}
        >
          Talk to it
        </ButtonLink>
      ) : (
        <Button
          variant="primary"
          icon={<MessagesSquare aria-hidden className="size-4" />}
          busy={deploy.isPending}
          onClick={() =>
            deploy.mutate(
              { body },
              {
                onSuccess: ({ id }) => router.push(deploymentHref(id)),
                onError: (e) => toast.bad("The model was not deployed", e),
              },
            )
          }
        >
          Deploy
        </Button>
      )}
      <DeleteButton name={model.name} remove={deleteModel(model.id)} back="/models" />
    </>
  );
}

function TunedFacts({ model }: { model: Model }) {
  return (
    <Facts
      items={[
        [
          "Base",
          model.base_model_id ? (
            <a key="b" className="text-accent-ink hover:underline" href={modelHref(model.base_model_id)}>
              {model.base_model_id}
            </a>
          ) : (
            "–"
          ),
        ],
        ["Method", methodOf(model)],
        [
          "Training",
          model.job_id ? (
            <a key="j" className="text-accent-ink hover:underline" href={`/job?id=${model.job_id}`}>
              Curves, log and configuration
            </a>
          ) : (
            "–"
          ),
        ],
        ["Size", bytes(model.size)],
        ["Made", moment(model.created_at)],
        ["Id", <Id key="id" id={model.id} />],
      ]}
    />
  );
}

function BaseFacts({ model }: { model: Model }) {
  return (
    <Facts
      items={[
        ["Parameters", model.parameters ? shortCount(model.parameters) : "–"],
        ["Context", model.context_length ? `${count(model.context_length)} tokens` : "–"],
        ["Licence", model.license || "–"],
        [
          "Comes from",
          <span key="o" title={model.source} className="[overflow-wrap:anywhere]">
            {originOf(model)}
          </span>,
        ],
        ["Revision", model.revision || "–"],
        ["Access", model.gated ? "Gated: accept its licence on the Hub, and set a token" : "Open"],
        ["Id", <Id key="id" id={model.id} />],
      ]}
    />
  );
}

function Evaluations({ model }: { model: Model }) {
  const evaluations = useEvaluations({ model_id: model.id });
  return (
    <Card title="How good it is" flush>
      <Async
        query={evaluations}
        loading={<SkeletonRows rows={1} />}
        empty={nothingOf("It has not been compared with its base yet.")}
      >
        {({ items }) => (
          <List label="Evaluations">
            {items.map((evaluation) => (
              <Row
                key={evaluation.id}
                href={evaluationHref(evaluation.id)}
                title={`Compared ${ago(evaluation.created_at)}`}
                note={lossesOf(evaluation)}
              >
                {evaluation.status === "completed" ? (
                  <Verdict verdict={evaluation.result?.verdict} />
                ) : (
                  <StatusBadge status={evaluation.status} />
                )}
              </Row>
            ))}
          </List>
        )}
      </Async>
    </Card>
  );
}

/** What stands in a card whose list has nothing. */
const nothingOf = (words: string) => ({
  when: ({ items }: { items: unknown[] }) => items.length === 0,
  show: <p className="px-4 pb-4 text-ink-3 sm:px-5">{words}</p>,
});

const lossesOf = ({ result }: Evaluation) =>
  result &&
  `loss ${measure(result.loss_base)} → ${measure(result.loss_tuned)} on ${plural(result.rows, "held-out row")}`;

function Deployments({ model }: { model: Model }) {
  const deployments = useDeployments({ model_id: model.id });
  return (
    <Card title="Deployments" flush>
      <Async query={deployments} loading={<SkeletonRows rows={1} />} empty={nothingOf("It is not served.")}>
        {({ items }) => (
          <List label="Deployments">
            {items.map((d) => (
              <Row key={d.id} href={deploymentHref(d.id)} title={ago(d.created_at)} note={d.device}>
                <StatusBadge status={d.status} />
              </Row>
            ))}
          </List>
        )}
      </Async>
    </Card>
  );
}
