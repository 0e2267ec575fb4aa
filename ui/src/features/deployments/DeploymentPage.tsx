"use client";

import { KeyRound, Power, Scale } from "lucide-react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { Button, ButtonLink } from "@/components/Button";
import { Card, Facts } from "@/components/Card";
import { CodeBlock, CopyButton, Id } from "@/components/Code";
import { Confirm } from "@/components/Dialog";
import { ErrorNotice, Notice, RunErrorNotice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { Segmented } from "@/components/Segmented";
import { StatusBadge } from "@/components/Status";
import { toast } from "@/components/Toasts";
import { modelHref, useModel } from "@/features/models/queries";
import { PageSkeleton } from "@/features/shell/ById";
import { $api } from "@/lib/api/client";
import { moment } from "@/lib/format";
import { Chat, type Side } from "./Chat";
import { type Deployment, deploymentHref, useDeployment, useDeployments } from "./queries";
import { snippets } from "./snippets";

const parent = { href: "/deployments", label: "Deployments" };

export function DeploymentPage({ id }: { id: string }) {
  const query = useDeployment(id);
  const model = useModel(query.data?.model_id ?? "");
  if (query.error && !query.data) {
    return (
      <Page title="Deployment" parent={parent}>
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      </Page>
    );
  }
  if (!query.data) return <PageSkeleton />;
  const deployment = query.data;
  return (
    <Page
      title={model.data?.name ?? deployment.model_id}
      parent={parent}
      aside={<StatusBadge status={deployment.status} />}
      note={<Id id={deployment.id} />}
      actions={<Actions deployment={deployment} />}
    >
      <div className="grid gap-5">
        {deployment.status === "failed" && (
          <RunErrorNotice error={deployment.error} title="The model cannot be served" />
        )}
        {deployment.status === "queued" && <Notice>The model is being loaded. It answers in a moment.</Notice>}
        {deployment.status === "restarting" && (
          <Notice>Its engine is being started again. It answers in a moment.</Notice>
        )}
        {deployment.status === "stopped" && (
          <Notice kind="warn" actions={<DeployAgain model={deployment.model_id} />}>
            It was taken down, and answers no more.
          </Notice>
        )}
        {/* It stays while the engine starts again: what was said in it must not go. */}
        {["serving", "restarting"].includes(deployment.status) && (
          <Playground deployment={deployment} base={model.data?.base_model_id} />
        )}
        <div className="grid gap-5 lg:grid-cols-[1fr_20rem]">
          <CallIt model={deployment.model_id} />
          <Card title="Where">
            <Facts
              items={[
                [
                  "Model",
                  <a
                    key="m"
                    href={modelHref(deployment.model_id)}
                    className="break-all text-accent-ink hover:underline"
                  >
                    {deployment.model_id}
                  </a>,
                ],
                ["Device", deployment.device || "–"],
                ["Worker", deployment.worker || "–"],
                ["Up since", moment(deployment.serving_at)],
              ]}
            />
          </Card>
        </div>
      </div>
    </Page>
  );
}

function Actions({ deployment }: { deployment: Deployment }) {
  const [asking, setAsking] = useState(false);
  const stop = $api.useMutation("delete", "/api/deployments/{id}");
  if (!["serving", "queued", "restarting"].includes(deployment.status)) return null;
  return (
    <>
      <Button icon={<Power aria-hidden className="size-4" />} onClick={() => setAsking(true)}>
        Take down
      </Button>
      <Confirm
        open={asking}
        onClose={() => setAsking(false)}
        title="Take this model down?"
        action="Take it down"
        danger
        busy={stop.isPending}
        onConfirm={() =>
          stop.mutate(
            { params: { path: { id: deployment.id } } },
            { onSuccess: () => setAsking(false), onError: (e) => toast.bad("It was not taken down", e) },
          )
        }
      >
        Programs that call {deployment.model_id} get an error from then on. The model itself stays, and can be deployed
        again.
      </Confirm>
    </>
  );
}

function DeployAgain({ model }: { model: string }) {
  const router = useRouter();
  const start = $api.useMutation("post", "/api/deployments");
  return (
    <Button
      size="sm"
      busy={start.isPending}
      onClick={() =>
        start.mutate(
          { body: { model_id: model } },
          {
            onSuccess: ({ id }) => router.push(deploymentHref(id)),
            onError: (e) => toast.bad("The model was not deployed", e),
          },
        )
      }
    >
      Deploy it again
    </Button>
  );
}

/** The tuned model, and beside it its base once that answers too. */
function Playground({ deployment, base }: { deployment: Deployment; base: string | undefined }) {
  const router = useRouter();
  const deployments = useDeployments({ model_id: base });
  const start = $api.useMutation("post", "/api/deployments");
  const beside = deployments.data?.items.find(({ model_id, status }) => model_id === base && status === "serving");
  const coming = deployments.data?.items.find(({ model_id, status }) => model_id === base && status === "queued");
  const [alone, setAlone] = useState(false);
  const tuned: Side = { model: deployment.model_id, label: base ? "Tuned" : "Model" };
  const sides = base && beside && !alone ? [{ model: base, label: "Base" }, tuned] : [tuned];
  return (
    <Card
      title="Talk to it"
      actions={
        base &&
        (beside ? (
          <Segmented
            label="Compare"
            value={alone ? "alone" : "beside"}
            onChange={(value) => setAlone(value === "alone")}
            options={[
              { value: "beside", label: "Beside its base" },
              { value: "alone", label: "Alone" },
            ]}
          />
        ) : (
          <Button
            size="sm"
            icon={<Scale aria-hidden className="size-4" />}
            busy={start.isPending || coming !== undefined}
            onClick={() =>
              start.mutate(
                { body: { model_id: base } },
                {
                  onSuccess: ({ id }) =>
                    toast.info("The base is being loaded", undefined, {
                      label: "Look",
                      onClick: () => router.push(deploymentHref(id)),
                    }),
                  onError: (e) => toast.bad("The base was not deployed", e),
                },
              )
            }
          >
            {coming ? "Loading the base" : "Deploy its base beside it"}
          </Button>
        ))
      }
    >
      <Chat sides={sides} />
    </Card>
  );
}

type Language = "curl" | "python" | "javascript";

function CallIt({ model }: { model: string }) {
  const [language, setLanguage] = useState<Language>("curl");
  const base = `${location.origin}/v1`;
  const code = snippets(location.origin, model)[language];
  return (
    <Card
      title="Call it from a program"
      actions={
        <ButtonLink href="/keys?new=1" size="sm" icon={<KeyRound aria-hidden className="size-4" />}>
          Make a key
        </ButtonLink>
      }
    >
      <div className="mb-3 flex flex-wrap items-center justify-between gap-3">
        <Segmented
          label="Language"
          value={language}
          onChange={setLanguage}
          options={[
            { value: "curl", label: "curl" },
            { value: "python", label: "Python" },
            { value: "javascript", label: "JavaScript" },
          ]}
        />
        <span className="flex min-w-0 items-center gap-1 text-ink-3 text-sm">
          <code className="truncate font-mono">{base}</code>
          <CopyButton text={base} label="Copy the address" iconOnly />
        </span>
      </div>
      <CodeBlock code={code} label={`${language} example`} />
    </Card>
  );
}
