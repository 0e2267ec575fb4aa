"use client";

import { ArrowRight } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { ErrorNotice } from "@/components/Notice";
import { ConfigForm } from "@/features/jobs/ConfigForm";
import { Prediction } from "@/features/jobs/Prediction";
import { overridesOf, settings, shown, type Values, valueAt } from "@/features/jobs/settings";
import { useRecommendation } from "@/features/jobs/useRecommendation";
import { $api, type Schemas } from "@/lib/api/client";
import { asProblem } from "@/lib/api/problem";
import type { Pipeline } from "./queries";

/** What is going to be trained and why; while the pipeline waits for its user, with a way to change it. */
export function Proposal({ pipeline }: { pipeline: Pipeline }) {
  const { recommendation } = pipeline;
  if (!recommendation?.config?.method)
    return <Card title="Configuration">It is being worked out once the data has been read.</Card>;
  if (pipeline.status === "awaiting_confirmation")
    return <Confirmation pipeline={pipeline} recommendation={recommendation} />;
  return (
    <div className="grid gap-5 lg:grid-cols-[1fr_19rem]">
      <Reasons recommendation={recommendation} />
      <Card title="What was expected">
        <Prediction recommendation={recommendation} />
      </Card>
    </div>
  );
}

type Recommendation = Schemas["Recommendation"];

function Confirmation({ pipeline, recommendation }: { pipeline: Pipeline; recommendation: Recommendation }) {
  const [changing, setChanging] = useState(false);
  const [values, setValues] = useState<Values>({});
  const changed = useRecommendation(changing ? (pipeline.dataset_id ?? "") : "", recommendation.model_id, values);
  const confirm = $api.useMutation("post", "/api/pipelines/{id}/confirm");
  const shownNow = (changing && changed.data) || recommendation;
  const problem = changed.error || confirm.error ? asProblem(changed.error ?? confirm.error) : undefined;
  return (
    <div className="grid gap-5 lg:grid-cols-[1fr_19rem]">
      <div className="grid min-w-0 content-start gap-5">
        {problem && <ErrorNotice error={problem} />}
        {changing ? (
          <ConfigForm
            recommendation={shownNow}
            values={values}
            onChange={setValues}
            refused={problem?.field ? { field: problem.field, message: problem.message } : undefined}
          />
        ) : (
          <Reasons recommendation={recommendation} />
        )}
      </div>
      <div>
        <Card title="What to expect" className="sticky top-20 lg:top-6">
          <Prediction recommendation={shownNow} stale={changing && changed.settling} />
          <Button
            variant="primary"
            className="mt-5 w-full"
            icon={<ArrowRight aria-hidden className="size-4" />}
            busy={confirm.isPending}
            disabled={changing && (Boolean(changed.error) || changed.settling)}
            onClick={() =>
              confirm.mutate({ params: { path: { id: pipeline.id } }, body: { config: overridesOf(values) } })
            }
          >
            {Object.keys(values).length > 0 ? "Train it like this" : "Train it as recommended"}
          </Button>
          {!changing && (
            <Button variant="quiet" className="mt-2 w-full" onClick={() => setChanging(true)}>
              Change something
            </Button>
          )}
        </Card>
      </div>
    </div>
  );
}

/** What is explained and is no setting of its own. */
const ofOthers: Record<string, string> = { checkpoint: "Saves", memory: "Memory" };

function Reasons({ recommendation }: { recommendation: Recommendation }) {
  return (
    <Card title={`What is recommended for ${recommendation.model_id}`} note="Each choice with its reason." flush>
      <ul className="divide-y divide-line">
        {recommendation.reasons.map((reason) => {
          const setting = settings.find(({ path }) => path === reason.field);
          return (
            <li key={reason.field} className="grid gap-x-4 px-4 py-3 sm:grid-cols-[9rem_7rem_1fr] sm:px-5">
              <span className="font-medium">{setting?.label ?? ofOthers[reason.field] ?? reason.field}</span>
              <span className="tabular text-accent-ink">
                {setting ? shown(setting, valueAt(recommendation.config, setting.path)) : reason.value}
              </span>
              <span className="text-ink-2 text-sm">
                {reason.reason}
                <span className="block text-ink-3 text-xs">By {reason.source}</span>
              </span>
            </li>
          );
        })}
      </ul>
    </Card>
  );
}
