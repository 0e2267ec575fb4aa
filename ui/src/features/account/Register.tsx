"use client";

import Link from "next/link";
import { type FormEvent, useEffect, useState } from "react";
import { Button } from "@/components/Button";
import { Field, Input } from "@/components/Field";
import { ErrorNotice, Notice } from "@/components/Notice";
import { $api } from "@/lib/api/client";
import { asProblem } from "@/lib/api/problem";
import { Frame } from "./Frame";
import { leaveFor } from "./returning";

export const shortestPassword = 10;
export const passwordRule = `${shortestPassword} characters or more; a few words do well.`;

/** Makes an account and signs in. */
function RegisterForm({ action }: { action: string }) {
  const register = $api.useMutation("post", "/api/auth/register", { onSuccess: () => leaveFor("/") });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name) ?? "").trim();
    register.mutate({
      body: {
        email: text("email"),
        name: text("name") || undefined,
        password: String(form.get("password")),
        cookie: true,
      },
    });
  };
  const problem = register.error ? asProblem(register.error) : undefined;
  const at = (field: string) =>
    problem?.field === field ? [problem.message, problem.remedy].filter(Boolean).join("; ") : undefined;
  return (
    <form onSubmit={submit} className="grid gap-4">
      <Field label="Your name" aside="optional">
        <Input name="name" autoComplete="name" maxLength={200} autoFocus />
      </Field>
      <Field label="E-mail" error={at("email")}>
        <Input name="email" type="email" autoComplete="username" required maxLength={254} />
      </Field>
      <Field label="Password" hint={passwordRule} error={at("password")}>
        <Input name="password" type="password" autoComplete="new-password" required minLength={shortestPassword} />
      </Field>
      {problem && !at(problem.field ?? "") && <ErrorNotice error={problem} />}
      <Button type="submit" variant="primary" busy={register.isPending}>
        {action}
      </Button>
    </form>
  );
}

/** Where the first-start link leads: the owner makes an account, or puts it off. */
export function Welcome() {
  return (
    <Frame
      title="Welcome to VibeFlow"
      note="It runs on your machine, and it is yours. With an account you can sign in from any browser that reaches it, and let others in."
    >
      <RegisterForm action="Make my account" />
      <p className="mt-6 text-ink-3 text-sm">
        <Link href="/" prefetch={false} className="text-accent-ink underline">
          Not now
        </Link>
        : this browser stays signed in, and <code className="font-mono">vibeflow open</code> signs others in.
      </p>
    </Frame>
  );
}

export function Register() {
  const status = $api.useQuery("get", "/api/auth/status");
  return (
    <Frame title="Make an account">
      {status.data && (status.data.signup === "closed" || status.data.needs_owner) ? (
        <Notice title="Sign-up is closed here">An owner can make an account for you.</Notice>
      ) : (
        <RegisterForm action="Make the account" />
      )}
      <p className="mt-6 text-ink-3 text-sm">
        <Link href="/login" prefetch={false} className="text-accent-ink underline">
          Sign in instead
        </Link>
      </p>
    </Frame>
  );
}

/** Opened by the link that an owner handed over, its code behind #. */
export function ChoosePassword() {
  const [code, setCode] = useState<string>();
  const reset = $api.useMutation("post", "/api/auth/reset", { onSuccess: () => leaveFor("/") });
  useEffect(() => {
    setCode(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
  }, []);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const password = String(new FormData(event.currentTarget).get("password"));
    reset.mutate({ body: { code: code ?? "", password, cookie: true } });
  };
  return (
    <Frame title="Choose a password">
      {code === "" ? (
        <Notice kind="warn" title="This link has no code">
          Ask an owner for a new one.
        </Notice>
      ) : (
        <form onSubmit={submit} className="grid gap-4">
          <Field label="New password" hint={passwordRule}>
            <Input
              name="password"
              type="password"
              autoComplete="new-password"
              required
              minLength={shortestPassword}
              autoFocus
            />
          </Field>
          {reset.error && <ErrorNotice error={reset.error} />}
          <Button type="submit" variant="primary" busy={reset.isPending}>
            Set it and sign in
          </Button>
        </form>
      )}
    </Frame>
  );
}
