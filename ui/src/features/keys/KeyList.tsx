"use client";

import { Ban, KeyRound, Plus } from "lucide-react";
import Link from "next/link";
import { useSearchParams } from "next/navigation";
import { type FormEvent, useState } from "react";
import { Button } from "@/components/Button";
import { CopyButton } from "@/components/Code";
import { Confirm, Dialog } from "@/components/Dialog";
import { Empty } from "@/components/Empty";
import { Checkbox, Field, Input, Select } from "@/components/Field";
import { Listing } from "@/components/Listing";
import { ErrorNotice, Notice } from "@/components/Notice";
import { Page } from "@/components/Page";
import { toast } from "@/components/Toasts";
import { When } from "@/components/When";
import { currentProject } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { pageSize } from "@/lib/api/lists";
import { plural } from "@/lib/format";
import { keyOrders, useListing } from "@/lib/listing";
import { isExpired, KeyBadge } from "./KeyBadge";
import { type Key, keyHref, useKeys } from "./queries";

type Scope = Schemas["Scope"];

const scopes: { scope: Scope; label: string; hint: string }[] = [
  { scope: "inference", label: "Ask deployed models", hint: "All that an app needs." },
  { scope: "read", label: "Read", hint: "See datasets, trainings and models." },
  { scope: "write", label: "Write", hint: "Upload, train, deploy and change." },
];

/** What a key may do, in words. */
const mayOf = ({ scopes: own = ["inference"] }: Key) =>
  scopes
    .filter(({ scope }) => own.includes(scope))
    .map(({ label }) => label)
    .join(", ");

export function KeyList() {
  const list = useListing();
  const keys = useKeys({ limit: pageSize, q: list.q, cursor: list.cursor, sort: list.oneOf("sort", keyOrders) });
  const [making, setMaking] = useState(useSearchParams().has("new"));
  const [revoking, setRevoking] = useState<Key>();
  return (
    <Page
      title="API keys"
      note="For programs that call your models. A key is shown once, when it is made."
      actions={
        <Button variant="primary" icon={<Plus aria-hidden className="size-4" />} onClick={() => setMaking(true)}>
          New key
        </Button>
      }
    >
      <Listing
        list={list}
        query={keys}
        search="Search by name"
        orders={keyOrders}
        empty={
          <Empty icon={KeyRound} title="No key yet" action={<Button onClick={() => setMaking(true)}>Make one</Button>}>
            With a key, any OpenAI SDK can call what you have deployed.
          </Empty>
        }
      >
        {(items) => (
          <ul aria-label="API keys" className="divide-y divide-line">
            {items.map((key) => (
              <KeyItem key={key.id} item={key} onRevoke={() => setRevoking(key)} />
            ))}
          </ul>
        )}
      </Listing>
      {making && <NewKey onClose={() => setMaking(false)} />}
      <Revoke item={revoking} onClose={() => setRevoking(undefined)} />
    </Page>
  );
}

function KeyItem({ item, onRevoke }: { item: Key; onRevoke: () => void }) {
  const usable = !item.revoked_at && !isExpired(item);
  return (
    <li className="flex flex-wrap items-center gap-x-5 gap-y-1 px-4 py-3 sm:px-5">
      <div className="min-w-0 flex-1 basis-52">
        <Link href={keyHref(item.id)} prefetch={false} className="block truncate font-medium hover:text-accent-ink">
          {item.name}
        </Link>
        <p className="text-ink-3 text-sm">
          <code className="font-mono">{item.prefix}…</code> · made <When at={item.created_at} />
        </p>
      </div>
      <span className="text-ink-3 text-sm">{mayOf(item)}</span>
      <span className="tabular text-ink-3 text-sm">
        {item.usage_count ? (
          <>
            {plural(item.usage_count, "request")}, last <When at={item.last_used_at} />
          </>
        ) : (
          "never used"
        )}
      </span>
      <KeyBadge item={item} />
      {usable && (
        <Button
          size="sm"
          variant="quiet"
          icon={<Ban aria-hidden className="size-4" />}
          onClick={onRevoke}
          aria-label={`Revoke ${item.name}`}
        >
          Revoke
        </Button>
      )}
    </li>
  );
}

function Revoke({ item, onClose }: { item: Key | undefined; onClose: () => void }) {
  const revoke = $api.useMutation("delete", "/api/keys/{id}");
  return (
    <Confirm
      open={item !== undefined}
      onClose={onClose}
      title={`Revoke ${item?.name}?`}
      action="Revoke it"
      danger
      busy={revoke.isPending}
      onConfirm={() =>
        revoke.mutate(
          { params: { path: { id: item!.id } } },
          {
            onSuccess: () => {
              toast.good(`${item!.name} was revoked`);
              onClose();
            },
            onError: (error) => toast.bad("The key was not revoked", error),
          },
        )
      }
    >
      Programs that use it are refused from now on. A revoked key cannot be brought back.
    </Confirm>
  );
}

const lives = [
  { value: "", label: "Never" },
  { value: "7", label: "In a week" },
  { value: "30", label: "In a month" },
  { value: "365", label: "In a year" },
];

function NewKey({ onClose }: { onClose: () => void }) {
  const generate = $api.useMutation("post", "/api/keys/generate");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const days = Number(form.get("days"));
    generate.mutate({
      body: {
        name: String(form.get("name")).trim(),
        project_id: currentProject(),
        scopes: form.getAll("scope") as Scope[],
        expires_at: days ? new Date(Date.now() + days * 86_400_000).toISOString() : undefined,
      },
    });
  };
  if (generate.data) return <Made made={generate.data} onClose={onClose} />;
  return (
    <Dialog open onClose={onClose} title="New API key">
      <form onSubmit={submit} className="grid gap-5">
        <Field label="Name" hint="Where it will be used.">
          <Input name="name" required maxLength={100} placeholder="my-laptop" autoComplete="off" />
        </Field>
        <fieldset className="grid gap-3">
          <legend className="mb-2 font-medium text-sm">What it may do</legend>
          {scopes.map(({ scope, label, hint }) => (
            <Checkbox
              key={scope}
              name="scope"
              value={scope}
              label={label}
              hint={hint}
              defaultChecked={scope === "inference"}
            />
          ))}
        </fieldset>
        <Field label="Expires">
          <Select name="days">
            {lives.map(({ value, label }) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </Select>
        </Field>
        {generate.error && <ErrorNotice error={generate.error} />}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={generate.isPending}>
            Make the key
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function Made({ made, onClose }: { made: Schemas["CreatedKey"]; onClose: () => void }) {
  return (
    <Dialog open stays onClose={onClose} title={`Your key ${made.key.name}`}>
      <div className="grid gap-4">
        <Notice kind="warn">Copy it now. It is not shown again.</Notice>
        <div className="flex items-center gap-2 rounded border border-line bg-sunken p-3">
          <code className="min-w-0 flex-1 break-all font-mono text-sm">{made.secret}</code>
          <CopyButton text={made.secret} />
        </div>
        <div className="flex justify-end">
          <Button onClick={onClose}>I have it</Button>
        </div>
      </div>
    </Dialog>
  );
}
