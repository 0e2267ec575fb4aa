"use client";

import { type FormEvent, useState } from "react";
import { Async } from "@/components/Async";
import { Badge } from "@/components/Badge";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Confirm } from "@/components/Dialog";
import { Field, Input, Select } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import { $api, type Schemas } from "@/lib/api/client";
import { ago } from "@/lib/format";

type Setting = Schemas["Setting"];

const titles: Record<string, string> = {
  huggingface_token: "Hugging Face token",
  gemini_api_key: "Gemini key",
  kaggle_username: "Kaggle user name",
  kaggle_key: "Kaggle key",
  signup: "Sign-up",
};

const title = (name: string) => titles[name] ?? name.replaceAll("_", " ").replace(/^./, (c) => c.toUpperCase());

/** What can be set: one's own, and for an owner the installation's. */
export function SettingCards() {
  const settings = $api.useQuery("get", "/api/settings");
  return (
    <Async query={settings}>
      {({ items }) => {
        const names = [...new Set(items.map(({ name }) => name))];
        return (
          <div className="grid gap-5 lg:grid-cols-2">
            {names.map((name) => {
              const levels = items.filter((item) => item.name === name);
              return (
                <Card key={name} title={title(name)} note={levels[0]!.description}>
                  <div className="grid gap-5">
                    {levels.map((setting) => (
                      <Level key={setting.level} setting={setting} only={levels.length === 1} />
                    ))}
                  </div>
                </Card>
              );
            })}
          </div>
        );
      }}
    </Async>
  );
}

function Level({ setting, only }: { setting: Setting; only: boolean }) {
  const [editing, setEditing] = useState(false);
  const [forgetting, setForgetting] = useState(false);
  const params = { path: { name: setting.name }, query: { level: setting.level } };
  const put = $api.useMutation("put", "/api/settings/{name}");
  const forget = $api.useMutation("delete", "/api/settings/{name}");
  const save = (value: string) =>
    put.mutate(
      { params, body: { value } },
      {
        onSuccess: () => {
          toast.good(`${title(setting.name)} is set`);
          setEditing(false);
        },
      },
    );
  const label = only ? title(setting.name) : setting.level === "user" ? "Yours" : "For everybody here";
  if (setting.choices?.length) {
    return (
      <div className="grid gap-3">
        <Field label={label}>
          <Select value={setting.value ?? ""} disabled={put.isPending} onChange={(event) => save(event.target.value)}>
            {!setting.set && <option value="">not set</option>}
            {setting.choices.map((choice) => (
              <option key={choice}>{choice}</option>
            ))}
          </Select>
        </Field>
        {put.error && <ErrorNotice error={put.error} />}
      </div>
    );
  }
  if (!editing) {
    return (
      <div className="flex min-h-9 flex-wrap items-center gap-3">
        <span className="font-medium text-sm">{label}</span>
        {setting.set ? <Badge tone="good">set {ago(setting.updated_at)}</Badge> : <Badge>not set</Badge>}
        {!setting.secret && setting.value && <span className="truncate text-ink-2">{setting.value}</span>}
        <span className="ml-auto flex gap-2">
          <Button size="sm" onClick={() => setEditing(true)}>
            {setting.set ? "Replace" : "Set"}
          </Button>
          {setting.set && (
            <Button size="sm" variant="quiet" onClick={() => setForgetting(true)}>
              Forget
            </Button>
          )}
        </span>
        <Confirm
          open={forgetting}
          onClose={() => setForgetting(false)}
          title={`Forget the ${title(setting.name)}?`}
          action="Forget it"
          danger
          busy={forget.isPending}
          onConfirm={() =>
            forget.mutate(
              { params },
              { onSuccess: () => setForgetting(false), onError: (e) => toast.bad("It was not forgotten", e) },
            )
          }
        >
          VibeFlow cannot show it again: to set it anew, you need it from where you got it. What needs it fails until
          then.
        </Confirm>
      </div>
    );
  }
  return (
    <form
      className="grid gap-3"
      onSubmit={(event: FormEvent<HTMLFormElement>) => {
        event.preventDefault();
        save(String(new FormData(event.currentTarget).get("value")).trim());
      }}
    >
      <Field label={label} hint={setting.secret ? "Kept encrypted, and never shown again." : undefined}>
        <Input
          name="value"
          type={setting.secret ? "password" : "text"}
          required
          autoFocus
          autoComplete="off"
          maxLength={4096}
        />
      </Field>
      {put.error && <ErrorNotice error={put.error} />}
      <div className="flex justify-end gap-2">
        <Button size="sm" onClick={() => setEditing(false)}>
          Cancel
        </Button>
        <Button size="sm" type="submit" variant="primary" busy={put.isPending}>
          Save
        </Button>
      </div>
    </form>
  );
}
