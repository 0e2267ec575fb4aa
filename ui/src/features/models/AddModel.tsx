"use client";

import { useRouter } from "next/navigation";
import { type FormEvent, useState } from "react";
import { Button } from "@/components/Button";
import { Dialog } from "@/components/Dialog";
import { Field, Input } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Segmented } from "@/components/Segmented";
import { toast } from "@/components/Toasts";
import { $api } from "@/lib/api/client";
import { modelHref } from "./queries";
import { UploadModel } from "./UploadModel";

type From = "hub" | "computer";

/** Names a base model for trainings to start from, or brings one along. */
export function AddModel({ onClose }: { onClose: () => void }) {
  const router = useRouter();
  const [from, setFrom] = useState<From>("hub");
  return (
    <Dialog open stays onClose={onClose} title="Add a base model" size="md">
      <div className="grid gap-5">
        <Segmented
          label="Where it comes from"
          value={from}
          onChange={setFrom}
          options={[
            { value: "hub", label: "Hub or server" },
            { value: "computer", label: "This computer" },
          ]}
        />
        {from === "hub" ? (
          <NameModel onDone={onClose} />
        ) : (
          <UploadModel
            onDone={(model) => {
              toast.good(`${model.name} was added`);
              router.push(modelHref(model.id));
            }}
          />
        )}
      </div>
    </Dialog>
  );
}

function NameModel({ onDone }: { onDone: () => void }) {
  const add = $api.useMutation("post", "/api/models");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const source = String(form.get("source")).trim();
    add.mutate(
      {
        body: {
          source: /^(hub|path):/.test(source) ? source : source.startsWith("/") ? `path:${source}` : `hub:${source}`,
          revision: String(form.get("revision")) || undefined,
        },
      },
      {
        onSuccess: (model) => {
          toast.good(`${model.name} was added`);
          onDone();
        },
      },
    );
  };
  return (
    <form onSubmit={submit} className="grid gap-4">
      <Field
        label="Model"
        hint="owner/name as on the Hugging Face Hub, or an absolute path of a folder of safetensors on the server"
      >
        <Input
          name="source"
          required
          minLength={3}
          placeholder="HuggingFaceTB/SmolLM2-360M-Instruct"
          autoComplete="off"
          spellCheck={false}
        />
      </Field>
      <Field label="Revision" aside="optional" hint="A branch, a tag or a commit">
        <Input name="revision" placeholder="main" autoComplete="off" spellCheck={false} />
      </Field>
      {add.error && <ErrorNotice error={add.error} />}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" busy={add.isPending}>
          Add
        </Button>
      </div>
    </form>
  );
}
