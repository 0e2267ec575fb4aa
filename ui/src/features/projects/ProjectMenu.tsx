"use client";

import { Ellipsis } from "lucide-react";
import { type FormEvent, useState } from "react";
import { Button, IconButton } from "@/components/Button";
import { Dialog } from "@/components/Dialog";
import { Field, Input, Textarea } from "@/components/Field";
import { Menu } from "@/components/Menu";
import { ErrorNotice } from "@/components/Notice";
import { toast } from "@/components/Toasts";
import { $api, api, type Schemas } from "@/lib/api/client";
import { bytes, plural } from "@/lib/format";
import { chooseProject, currentProject } from "./current";
import type { Project } from "./queries";

/** What can be done with a project; one that was deleted can be brought back. */
export function ProjectMenu({ project }: { project: Project }) {
  const [asking, setAsking] = useState<"edit" | "delete">();
  const params = { params: { path: { id: project.id } } };
  const failed = (error: unknown) => toast.bad("Nothing was changed", error);
  const archive = $api.useMutation("post", "/api/projects/{id}/archive", { onError: failed });
  const unarchive = $api.useMutation("post", "/api/projects/{id}/unarchive", { onError: failed });
  const restore = $api.useMutation("post", "/api/projects/{id}/restore", { onError: failed });
  const bringBack = () => restore.mutate(params, { onSuccess: () => toast.good(`${project.name} is back`) });
  const close = () => setAsking(undefined);
  if (project.status === "deleted") {
    return (
      <Button size="sm" busy={restore.isPending} onClick={bringBack}>
        Bring back
      </Button>
    );
  }
  return (
    <>
      <Menu
        trigger={
          <IconButton label={`What to do with ${project.name}`}>
            <Ellipsis aria-hidden className="size-4" />
          </IconButton>
        }
        entries={[
          { label: "Edit", onSelect: () => setAsking("edit") },
          project.status === "archived"
            ? { label: "Take out of the archive", onSelect: () => unarchive.mutate(params) }
            : { label: "Archive", note: "Nothing new starts in it", onSelect: () => archive.mutate(params) },
          "line",
          { label: "Delete", danger: true, onSelect: () => setAsking("delete") },
        ]}
      />
      {asking === "edit" && <ProjectDialog project={project} onClose={close} />}
      {asking === "delete" && <DeleteDialog project={project} onClose={close} onUndo={bringBack} />}
    </>
  );
}

function DeleteDialog({ project, onClose, onUndo }: { project: Project; onClose: () => void; onUndo: () => void }) {
  const [typed, setTyped] = useState("");
  const whole = $api.useQuery("get", "/api/projects/{id}", { params: { path: { id: project.id } } });
  const remove = $api.useMutation("delete", "/api/projects/{id}");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    remove.mutate(
      { params: { path: { id: project.id } } },
      {
        onSuccess: () => {
          if (currentProject() === project.id) chooseProject(undefined);
          toast.good(`${project.name} was deleted`, { label: "Undo", onClick: onUndo });
          onClose();
        },
      },
    );
  };
  return (
    <Dialog open onClose={onClose} title={`Delete ${project.name}?`} role="alertdialog">
      <form onSubmit={submit} className="grid gap-4">
        <p className="text-ink-2">
          {whole.data?.contents ? `With it go ${contents(whole.data.contents)}. ` : ""}
          It can be brought back for a while; then it is gone for good.
        </p>
        <Field label={`Type ${project.name} to delete it`}>
          <Input
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
            autoComplete="off"
            spellCheck={false}
          />
        </Field>
        {remove.error && <ErrorNotice error={remove.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>Keep it</Button>
          <Button type="submit" variant="danger" disabled={typed !== project.name} busy={remove.isPending}>
            Delete it
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function contents({ datasets, jobs, models, keys, bytes: size }: Schemas["ProjectContents"]): string {
  return `${plural(datasets, "dataset")}, ${plural(jobs, "training")}, ${plural(models, "model")} and ${plural(keys, "key")} (${bytes(size)})`;
}

export function ProjectDialog({ project, onClose }: { project: Project | undefined; onClose: () => void }) {
  const create = $api.useMutation("post", "/api/projects", {
    onSuccess: (made) => {
      chooseProject(made.id);
      toast.good(`You work in ${made.name} now`);
      onClose();
    },
  });
  const update = $api.useMutation("put", "/api/projects/{id}", { onSuccess: onClose });
  const [stale, setStale] = useState<unknown>();
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => String(form.get(name)).trim();
    const body = { name: text("name"), description: text("description"), goal: text("goal") };
    if (!project) return create.mutate({ body });
    const etag = await etagOf(project).catch(setStale);
    if (etag) update.mutate({ params: { path: { id: project.id }, header: { "If-Match": etag } }, body });
  };
  const error = create.error ?? update.error ?? stale;
  return (
    <Dialog open onClose={onClose} title={project ? `Edit ${project.name}` : "New project"}>
      <form onSubmit={submit} className="grid gap-4">
        <Field label="Name">
          <Input name="name" required maxLength={200} defaultValue={project?.name} autoComplete="off" />
        </Field>
        <Field label="Description" aside="optional">
          <Textarea name="description" maxLength={4000} defaultValue={project?.description} rows={2} />
        </Field>
        <Field label="Goal" aside="optional">
          <Textarea name="goal" maxLength={4000} defaultValue={project?.goal} rows={2} />
        </Field>
        {error ? <ErrorNotice error={error} /> : null}
        <div className="flex justify-end">
          <Button type="submit" variant="primary" busy={create.isPending || update.isPending}>
            {project ? "Save" : "Make it"}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** The version that this change is meant for; somebody else's newer one is not overwritten. */
async function etagOf(project: Project): Promise<string> {
  const { response, data } = await api.GET("/api/projects/{id}", { params: { path: { id: project.id } } });
  if (data?.updated_at !== project.updated_at)
    throw new Error("Somebody else has changed this project meanwhile. Close this, and look at it again.");
  return response.headers.get("ETag") ?? "*";
}
