"use client";

import { Plus, Users } from "lucide-react";
import { type FormEvent, useState } from "react";
import { Async } from "@/components/Async";
import { Badge } from "@/components/Badge";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Confirm, Dialog } from "@/components/Dialog";
import { Empty } from "@/components/Empty";
import { Field, Input, Select } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import { When } from "@/components/When";
import { useMe } from "@/features/account/queries";
import { $api, type Schemas } from "@/lib/api/client";
import type { Project } from "./queries";

type Member = Schemas["Member"];
type Role = Schemas["ProjectRole"];

const roles: Record<Role, { label: string; may: string }> = {
  viewer: { label: "Viewer", may: "sees what is there and asks its models" },
  editor: { label: "Editor", may: "also starts and changes things" },
  owner: { label: "Owner", may: "also changes the project and who is in it" },
};

/** Who has a part in a project, and which. */
export function Members({ project }: { project: Project }) {
  const members = $api.useQuery("get", "/api/projects/{id}/members", { params: { path: { id: project.id } } });
  const me = useMe().data;
  const [adding, setAdding] = useState(false);
  const decides = project.role === "owner" || me?.role === "owner";
  return (
    <Card
      title="Members"
      note="Owners of this installation reach every project, and are not listed."
      flush
      actions={
        decides && (
          <Button size="sm" icon={<Plus aria-hidden className="size-4" />} onClick={() => setAdding(true)}>
            Share with somebody
          </Button>
        )
      }
    >
      <Async
        query={members}
        empty={{
          when: ({ items }) => items.length === 0,
          show: <Empty icon={Users} title="It is shared with nobody" />,
        }}
      >
        {({ items }) => (
          <ul aria-label="Members" className="divide-y divide-line border-line border-t">
            {items.map((member) => (
              <MemberItem
                key={member.user_id}
                member={member}
                project={project}
                decides={decides}
                myself={member.user_id === me?.user?.id}
              />
            ))}
          </ul>
        )}
      </Async>
      {adding && <AddMember project={project} onClose={() => setAdding(false)} />}
    </Card>
  );
}

type MemberItemProps = { member: Member; project: Project; decides: boolean; myself: boolean };

function MemberItem({ member, project, decides, myself }: MemberItemProps) {
  const [leaving, setLeaving] = useState(false);
  const name = member.name || member.email;
  const params = { params: { path: { id: project.id, user_id: member.user_id } } };
  const failed = (error: unknown) => toast.bad("Nothing was changed", error);
  const change = $api.useMutation("patch", "/api/projects/{id}/members/{user_id}", { onError: failed });
  const remove = $api.useMutation("delete", "/api/projects/{id}/members/{user_id}", { onError: failed });
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-3 sm:px-5">
      <div className="min-w-0 flex-1 basis-52">
        <p className="truncate font-medium">
          {name}
          {myself && <span className="font-normal text-ink-3"> (you)</span>}
        </p>
        <p className="truncate text-ink-3 text-sm">
          {member.name && `${member.email} · `}since <When at={member.added_at} />
        </p>
      </div>
      {member.disabled && <Badge tone="bad">disabled</Badge>}
      {decides ? (
        <Select
          aria-label={`What ${name} may do`}
          className="max-w-32"
          value={member.role}
          disabled={change.isPending}
          onChange={(event) => change.mutate({ ...params, body: { role: event.target.value as Role } })}
        >
          {Object.entries(roles).map(([role, { label }]) => (
            <option key={role} value={role}>
              {label}
            </option>
          ))}
        </Select>
      ) : (
        <Badge>{roles[member.role].label}</Badge>
      )}
      {(decides || myself) && (
        <Button size="sm" variant="quiet" onClick={() => setLeaving(true)}>
          {myself ? "Leave" : "Take out"}
        </Button>
      )}
      <Confirm
        open={leaving}
        onClose={() => setLeaving(false)}
        title={myself ? `Leave ${project.name}?` : `Take ${name} out of ${project.name}?`}
        action={myself ? "Leave" : "Take out"}
        cancel={myself ? "Stay" : "Keep them"}
        danger
        busy={remove.isPending}
        onConfirm={() => remove.mutate(params, { onSuccess: () => setLeaving(false) })}
      >
        Keys that {myself ? "you have" : `${name} has`} made for the project are revoked.
      </Confirm>
    </li>
  );
}

function AddMember({ project, onClose }: { project: Project; onClose: () => void }) {
  const [role, setRole] = useState<Role>("viewer");
  const add = $api.useMutation("post", "/api/projects/{id}/members", {
    onSuccess: (member) => {
      toast.good(`${member.name || member.email} has a part in ${project.name}`);
      onClose();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const email = String(new FormData(event.currentTarget).get("email")).trim();
    add.mutate({ params: { path: { id: project.id } }, body: { email, role } });
  };
  return (
    <Dialog
      open
      onClose={onClose}
      title={`Share ${project.name}`}
      description="With somebody who has an account here. An owner of this installation can invite others."
    >
      <form onSubmit={submit} className="grid gap-4">
        <Field label="E-mail">
          <Input name="email" type="email" required maxLength={254} autoComplete="off" />
        </Field>
        <Field label="Part" hint={`${roles[role].label}: ${roles[role].may}.`}>
          <Select value={role} onChange={(event) => setRole(event.target.value as Role)}>
            {Object.entries(roles).map(([value, { label }]) => (
              <option key={value} value={value}>
                {label}
              </option>
            ))}
          </Select>
        </Field>
        {add.error && <ErrorNotice error={add.error} />}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={add.isPending}>
            Share it
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
