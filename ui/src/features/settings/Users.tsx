"use client";

import { Ellipsis, Plus } from "lucide-react";
import { type FormEvent, useState } from "react";
import { Badge } from "@/components/Badge";
import { Button, IconButton } from "@/components/Button";
import { CopyButton } from "@/components/Code";
import { Confirm, Dialog } from "@/components/Dialog";
import { Field, Input, Select } from "@/components/Field";
import { Listing } from "@/components/Listing";
import { Menu } from "@/components/Menu";
import { ErrorNotice, Notice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import { nameOf, type User, useMe } from "@/features/account/queries";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, pageSize } from "@/lib/api/lists";
import { ago, moment } from "@/lib/format";
import { useListing } from "@/lib/listing";

type Link = { title: string; link: Schemas["SignInLink"] };

/** Who has an account here; for owners. */
export function Users() {
  const list = useListing();
  const query = { limit: pageSize, q: list.q, cursor: list.cursor };
  const users = $api.useQuery("get", "/api/users", { params: { query } }, keepPage);
  const [adding, setAdding] = useState(false);
  const [link, setLink] = useState<Link>();
  return (
    <>
      <Listing
        title="People"
        note="Owners reach everything; members their own projects."
        actions={
          <Button size="sm" icon={<Plus aria-hidden className="size-4" />} onClick={() => setAdding(true)}>
            Invite
          </Button>
        }
        list={list}
        query={users}
        search="Search by name or e-mail"
        empty={<p className="p-5 text-ink-3">Nobody has an account yet.</p>}
      >
        {(items) => (
          <ul aria-label="People" className="divide-y divide-line">
            {items.map((user) => (
              <UserItem key={user.id} user={user} onLink={setLink} />
            ))}
          </ul>
        )}
      </Listing>
      {adding && (
        <Invite
          onClose={() => setAdding(false)}
          onMade={(made) => {
            setAdding(false);
            setLink({ title: `${nameOf(made.user)} can come in`, link: made.link });
          }}
        />
      )}
      {link && <LinkDialog {...link} onClose={() => setLink(undefined)} />}
    </>
  );
}

function UserItem({ user, onLink }: { user: User; onLink: (link: Link) => void }) {
  const me = useMe().data?.user;
  const [deleting, setDeleting] = useState(false);
  const params = { params: { path: { id: user.id } } };
  const failed = (error: unknown) => toast.bad("Nothing was changed", error);
  const update = $api.useMutation("patch", "/api/users/{id}", { onError: failed });
  const reset = $api.useMutation("post", "/api/users/{id}/reset", { onError: failed });
  const remove = $api.useMutation("delete", "/api/users/{id}", { onError: failed });
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-3 sm:px-5">
      <div className="min-w-0 flex-1 basis-40">
        <p className="truncate font-medium">
          {nameOf(user)}
          {user.id === me?.id && <span className="font-normal text-ink-3"> (you)</span>}
        </p>
        <p className="truncate text-ink-3 text-sm">
          {user.name && `${user.email} · `}
          {user.last_seen_at ? `seen ${ago(user.last_seen_at)}` : "never here"}
        </p>
      </div>
      <div className="flex items-center gap-2">
        {user.invited && <Badge tone="warn">invited</Badge>}
        {user.disabled && <Badge tone="bad">disabled</Badge>}
        <Badge tone={user.role === "owner" ? "accent" : "neutral"}>{user.role}</Badge>
        <Menu
          trigger={
            <IconButton label={`What to do with ${nameOf(user)}`}>
              <Ellipsis aria-hidden className="size-4" />
            </IconButton>
          }
          entries={[
            {
              label: user.role === "owner" ? "Make a member" : "Make an owner",
              onSelect: () => update.mutate({ ...params, body: { role: user.role === "owner" ? "member" : "owner" } }),
            },
            {
              label: "New password link",
              onSelect: () =>
                reset.mutate(params, {
                  onSuccess: (link) => onLink({ title: `A password link for ${nameOf(user)}`, link }),
                }),
            },
            {
              label: user.disabled ? "Enable" : "Disable",
              onSelect: () => update.mutate({ ...params, body: { disabled: !user.disabled } }),
            },
            "line",
            { label: "Delete", danger: true, onSelect: () => setDeleting(true) },
          ]}
        />
      </div>
      <Confirm
        open={deleting}
        onClose={() => setDeleting(false)}
        title={`Delete ${nameOf(user)}?`}
        action="Delete the account"
        danger
        busy={remove.isPending}
        onConfirm={() => remove.mutate(params, { onSuccess: () => setDeleting(false) })}
      >
        The account's sessions end and its keys are revoked. Its projects become yours. This cannot be undone.
      </Confirm>
    </li>
  );
}

function Invite({ onClose, onMade }: { onClose: () => void; onMade: (made: Schemas["Invitation"]) => void }) {
  const create = $api.useMutation("post", "/api/users", { onSuccess: onMade });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    create.mutate({
      body: {
        email: String(form.get("email")).trim(),
        name: String(form.get("name")).trim() || undefined,
        role: String(form.get("role")) as Schemas["Role"],
      },
    });
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title="Invite somebody"
      description="You get a link to hand over; its holder chooses a password."
    >
      <form onSubmit={submit} className="grid gap-4">
        <Field label="E-mail">
          <Input name="email" type="email" required maxLength={254} autoComplete="off" />
        </Field>
        <Field label="Name" aside="optional">
          <Input name="name" maxLength={200} autoComplete="off" />
        </Field>
        <Field label="Role">
          <Select name="role">
            <option value="member">Member: projects of their own</option>
            <option value="owner">Owner: everything</option>
          </Select>
        </Field>
        {create.error && <ErrorNotice error={create.error} />}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={create.isPending}>
            Make the account
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function LinkDialog({ title, link, onClose }: Link & { onClose: () => void }) {
  return (
    <Dialog open stays onClose={onClose} title={title}>
      <div className="grid gap-4">
        <Notice>Hand this link over. It works once, until {moment(link.expires_at)}, and is not shown again.</Notice>
        <div className="flex items-center gap-2 rounded border border-line bg-sunken p-3">
          <code className="min-w-0 flex-1 break-all font-mono text-sm">{link.url}</code>
          <CopyButton text={link.url} />
        </div>
      </div>
    </Dialog>
  );
}
