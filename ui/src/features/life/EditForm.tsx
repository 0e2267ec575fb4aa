"use client";

import { useMutation, useQuery } from "@tanstack/react-query";
import { type FormEvent, type KeyboardEvent, useState } from "react";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { Field, Input, Select, Textarea } from "@/components/Field";
import { ErrorNotice, Notice } from "@/components/Notice";
import { Skeleton } from "@/components/Skeleton";
import { toast } from "@/components/Toasts";
import { asProblem } from "@/lib/api/problem";
import type { Edit, Editable, Priority, Said } from "./edits";
import { PriorityOptions } from "./PriorityOptions";

type EditFormProps = { edit: Editable; onDone: () => void };
type Version = { said: Said; etag: string };

/** Changes what people say of a thing, from the version that is there when one begins. */
export default function EditForm({ edit, onDone }: EditFormProps) {
  const begun = useQuery({
    queryKey: ["edit", edit.key],
    queryFn: edit.read,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  if (begun.error && !begun.data) return <ErrorNotice error={begun.error} onRetry={() => begun.refetch()} />;
  if (!begun.data) return <Skeleton className="h-64" />;
  return <Form edit={edit} begun={begun.data} onDone={onDone} />;
}

function Form({ edit, begun, onDone }: EditFormProps & { begun: Version }) {
  const [base, setBase] = useState(begun);
  const [theirs, setTheirs] = useState<Version>();
  const save = useMutation({
    mutationFn: ({ change, etag }: { change: Edit; etag: string }) => edit.write(change, etag),
    onSuccess: () => {
      toast.good("Saved");
      onDone();
    },
    onError: async (error) => {
      if (asProblem(error).status === 412) setTheirs(await edit.read());
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const change = changeOf(new FormData(event.currentTarget), base.said);
    if (Object.keys(change).length === 0) return onDone();
    save.mutate({ change, etag: (theirs ?? base).etag });
  };
  const onKey = (event: KeyboardEvent<HTMLFormElement>) => {
    if (event.key === "Escape") onDone();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
  };
  const takeTheirs = () => {
    setBase(theirs!);
    setTheirs(undefined);
    save.reset();
  };
  const problem = save.error && !theirs ? asProblem(save.error) : undefined;
  const { said } = base;
  return (
    <Card>
      <form key={base.etag} onSubmit={submit} onKeyDown={onKey} className="grid gap-4">
        <div className="grid gap-4 sm:grid-cols-2">
          <Field label="Name" error={problem?.field === "name" && problem.message}>
            <Input name="name" required maxLength={200} defaultValue={said.name} autoComplete="off" autoFocus />
          </Field>
          <Field label="Tags" hint="With commas between them." error={problem?.field === "tags" && problem.message}>
            <Input name="tags" defaultValue={(said.tags ?? []).join(", ")} autoComplete="off" />
          </Field>
        </div>
        <Field label="Notes" error={problem?.field === "notes" && problem.message}>
          <Textarea name="notes" maxLength={4000} rows={3} defaultValue={said.notes} />
        </Field>
        {said.priority && (
          <Field label="Priority" hint="Among this project’s own trainings, while it waits in line.">
            <Select name="priority" defaultValue={said.priority}>
              <PriorityOptions />
            </Select>
          </Field>
        )}
        {theirs && <Conflict theirs={theirs.said} onTake={takeTheirs} />}
        {problem && !["name", "notes", "tags"].includes(problem.field ?? "") && <ErrorNotice error={problem} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onDone}>Cancel</Button>
          <Button type="submit" variant="primary" busy={save.isPending}>
            {theirs ? "Save mine over it" : "Save"}
          </Button>
        </div>
      </form>
    </Card>
  );
}

/** Somebody else was faster: what they said, and a way to go on from it. */
function Conflict({ theirs, onTake }: { theirs: Said; onTake: () => void }) {
  return (
    <Notice
      kind="warn"
      title="Somebody else has changed this meanwhile"
      actions={
        <Button size="sm" onClick={onTake}>
          Take theirs instead
        </Button>
      }
    >
      <dl className="mt-1 grid grid-cols-[auto_1fr] gap-x-4 text-sm">
        <dt>Name</dt>
        <dd className="min-w-0 break-words">{theirs.name}</dd>
        <dt>Tags</dt>
        <dd className="min-w-0 break-words">{theirs.tags?.join(", ") || "none"}</dd>
        <dt>Notes</dt>
        <dd className="line-clamp-3 min-w-0 whitespace-pre-wrap break-words">{theirs.notes || "none"}</dd>
      </dl>
    </Notice>
  );
}

/** The fields that differ from what one began with. */
function changeOf(form: FormData, said: Said): Edit {
  const text = (name: string) => String(form.get(name)).trim();
  const tags = [
    ...new Set(
      text("tags")
        .split(",")
        .map((tag) => tag.trim())
        .filter(Boolean),
    ),
  ];
  return {
    ...(text("name") !== said.name && { name: text("name") }),
    ...(text("notes") !== (said.notes ?? "") && { notes: text("notes") }),
    ...(tags.join() !== (said.tags ?? []).join() && { tags }),
    ...(form.has("priority") && text("priority") !== said.priority && { priority: text("priority") as Priority }),
  };
}
