"use client";

import { type FormEvent, useState } from "react";
import { Async } from "@/components/Async";
import { Badge } from "@/components/Badge";
import { Button, ButtonLink } from "@/components/Button";
import { Card } from "@/components/Card";
import { Field, Input } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import { $api, type Schemas } from "@/lib/api/client";
import { ago } from "@/lib/format";
import { type User, useMe } from "./queries";
import { passwordRule, shortestPassword } from "./Register";

export function AccountSettings() {
  const me = useMe();
  return (
    <Async query={me}>
      {({ user }) =>
        user ? (
          <div className="grid gap-5 lg:grid-cols-2">
            <Profile key={user.updated_at} user={user} />
            <Password />
            <Devices />
          </div>
        ) : (
          <Card title="You have no account yet" note="This browser was signed in by a link, as the machine's owner.">
            <ButtonLink href="/welcome" variant="primary">
              Make an account
            </ButtonLink>
          </Card>
        )
      }
    </Async>
  );
}

function Profile({ user }: { user: User }) {
  const update = $api.useMutation("patch", "/api/me");
  const [email, setEmail] = useState(user.email);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const changed = email.trim() !== user.email;
    update.mutate(
      {
        body: {
          name: String(form.get("name")).trim(),
          ...(changed ? { email: email.trim(), current_password: String(form.get("current_password")) } : {}),
        },
      },
      { onSuccess: () => toast.good("Saved") },
    );
  };
  return (
    <Card title="You">
      <form onSubmit={submit} className="grid gap-4">
        <Field label="Name">
          <Input name="name" defaultValue={user.name} maxLength={200} autoComplete="name" />
        </Field>
        <Field label="E-mail">
          <Input
            type="email"
            value={email}
            onChange={(event) => setEmail(event.target.value)}
            required
            autoComplete="email"
          />
        </Field>
        {email.trim() !== user.email && (
          <Field label="Your password" hint="To change the e-mail address.">
            <Input name="current_password" type="password" required autoComplete="current-password" />
          </Field>
        )}
        {update.error && <ErrorNotice error={update.error} />}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={update.isPending}>
            Save
          </Button>
        </div>
      </form>
    </Card>
  );
}

function Password() {
  const change = $api.useMutation("post", "/api/auth/password");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const target = event.currentTarget;
    const form = new FormData(target);
    change.mutate(
      { body: { current_password: String(form.get("current")), new_password: String(form.get("new")) } },
      {
        onSuccess: () => {
          target.reset();
          toast.good("The password is changed; other devices were signed out");
        },
      },
    );
  };
  return (
    <Card title="Password">
      <form onSubmit={submit} className="grid gap-4">
        <Field label="Current password">
          <Input name="current" type="password" required autoComplete="current-password" />
        </Field>
        <Field label="New password" hint={passwordRule}>
          <Input name="new" type="password" required minLength={shortestPassword} autoComplete="new-password" />
        </Field>
        {change.error && <ErrorNotice error={change.error} />}
        <div className="flex justify-end">
          <Button type="submit" busy={change.isPending}>
            Change it
          </Button>
        </div>
      </form>
    </Card>
  );
}

function Devices() {
  const sessions = $api.useQuery("get", "/api/me/sessions");
  return (
    <Card title="Where you are signed in" className="lg:col-span-2" flush>
      <Async query={sessions}>
        {({ items }) => (
          <ul className="divide-y divide-line">
            {items.map((device) => (
              <DeviceItem key={device.id} device={device} />
            ))}
          </ul>
        )}
      </Async>
    </Card>
  );
}

function DeviceItem({ device }: { device: Schemas["Device"] }) {
  const end = $api.useMutation("delete", "/api/me/sessions/{id}");
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-3 sm:px-5">
      <div className="min-w-0 flex-1 basis-60">
        <p className="truncate">{browserOf(device.client)}</p>
        <p className="text-ink-3 text-sm">
          {device.address} · last used {ago(device.last_used_at)}
        </p>
      </div>
      {device.current ? (
        <Badge tone="good">this one</Badge>
      ) : (
        <Button
          size="sm"
          busy={end.isPending}
          onClick={() =>
            end.mutate(
              { params: { path: { id: device.id } } },
              { onError: (e) => toast.bad("It is still signed in", e) },
            )
          }
        >
          Sign out
        </Button>
      )}
    </li>
  );
}

/** "Firefox on Linux", as far as a User-Agent tells. */
function browserOf(agent: string): string {
  const browser = /Edg\//.test(agent)
    ? "Edge"
    : (/(Firefox|Chrome|Safari)\//.exec(agent)?.[1] ?? agent.split(" ")[0] ?? "A program");
  const system = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(agent)?.[1]?.replace("Mac OS X", "macOS");
  return system ? `${browser} on ${system}` : browser || "A program";
}
