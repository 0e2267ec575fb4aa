"use client";

import Link from "next/link";
import { type FormEvent, useEffect } from "react";
import { Button } from "@/components/Button";
import { Field, Input } from "@/components/Field";
import { ErrorNotice, Notice } from "@/components/Notice";
import { $api } from "@/lib/api/client";
import { Frame } from "./Frame";
import { leaveFor, returnPath } from "./returning";

export function Login() {
  const status = $api.useQuery("get", "/api/auth/status");
  const login = $api.useMutation("post", "/api/auth/login", { onSuccess: () => leaveFor(returnPath(location.search)) });
  const signedIn = status.data?.signed_in;
  useEffect(() => {
    if (signedIn) leaveFor(returnPath(location.search));
  }, [signedIn]);

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    login.mutate({
      body: { email: String(form.get("email")).trim(), password: String(form.get("password")), cookie: true },
    });
  };
  if (status.data?.needs_owner) {
    return (
      <Frame
        title="Welcome to VibeFlow"
        note="Nobody has an account here yet. On the machine that it runs on, this opens it and signs you in:"
      >
        <pre className="rounded-lg border border-line bg-sunken px-4 py-3 font-mono text-sm">vibeflow open</pre>
      </Frame>
    );
  }
  return (
    <Frame title="Sign in">
      <form onSubmit={submit} className="grid gap-4">
        {status.error && <ErrorNotice error={status.error} onRetry={() => status.refetch()} />}
        <Field label="E-mail">
          <Input name="email" type="email" autoComplete="username" required autoFocus />
        </Field>
        <Field label="Password">
          <Input name="password" type="password" autoComplete="current-password" required />
        </Field>
        {login.error && <ErrorNotice error={login.error} />}
        <Button type="submit" variant="primary" busy={login.isPending}>
          Sign in
        </Button>
      </form>
      <div className="mt-6 grid gap-2 text-ink-3 text-sm">
        {status.data?.signup === "open" && (
          <p>
            No account yet?{" "}
            <Link href="/register" prefetch={false} className="text-accent-ink underline">
              Make one
            </Link>
          </p>
        )}
        <p>
          Password forgotten? An owner can make a link with which you choose another one. On the machine that it runs
          on, <code className="font-mono">vibeflow open</code> signs you in as one.
        </p>
      </div>
    </Frame>
  );
}

/** Opened with the code of a one-time link behind #. */
export function Redeem() {
  const redeem = $api.useMutation("post", "/api/auth/redeem");
  const { mutateAsync } = redeem;
  useEffect(() => {
    const code = location.hash.slice(1);
    // The code is nobody else's to see, in the history either.
    history.replaceState(null, "", location.pathname);
    if (!code) return;
    void mutateAsync({ body: { code, cookie: true } }).then(
      async () => leaveFor((await needsOwner()) ? "/welcome" : "/"),
      () => undefined,
    );
  }, [mutateAsync]);
  return (
    <Frame title="VibeFlow">
      {redeem.error ? (
        <ErrorNotice error={redeem.error} title="This link does not sign you in" />
      ) : redeem.isIdle ? (
        <Notice kind="warn" title="This link has no code">
          Make a new one with <code className="font-mono">vibeflow open</code>.
        </Notice>
      ) : (
        <p role="status">Signing in …</p>
      )}
    </Frame>
  );
}

async function needsOwner(): Promise<boolean> {
  const response = await fetch("/api/auth/status");
  return response.ok && ((await response.json()) as { needs_owner: boolean }).needs_owner;
}
