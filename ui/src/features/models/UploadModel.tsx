"use client";

import { type FormEvent, useState } from "react";
import { Button } from "@/components/Button";
import { DropZone } from "@/components/DropZone";
import { Field, Input } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Sending } from "@/components/Sending";
import { currentProject } from "@/features/projects/current";
import { bytes, plural } from "@/lib/format";
import { type Parcel, useUpload } from "@/lib/upload";
import type { Model } from "./queries";

/** Takes a model's folder or an archive of it, and sends it under a name. */
export function UploadModel({ onDone }: { onDone: (model: Model) => void }) {
  const { state, start, cancel, dismiss } = useUpload<Model>("/api/models/upload", onDone);
  const [files, setFiles] = useState<File[]>([]);
  if (state.phase === "sending") return <Sending state={state} onCancel={cancel} />;
  if (files.length === 0) {
    return (
      <DropZone
        multiple
        onFiles={setFiles}
        title="Choose the model's files, or drop its folder here"
        hint="config.json, tokenizer.json and safetensors, or one .zip, .tar or .tar.gz of them. Pickled weights and models that bring code are refused."
      />
    );
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const name = String(new FormData(event.currentTarget).get("name")).trim();
    const again = state.phase === "failed" && state.parcel.label === name;
    void start(again ? state.parcel : parcelOf(files, name));
  };
  const others = () => {
    dismiss();
    setFiles([]);
  };
  return (
    <form onSubmit={submit} className="grid gap-4">
      <Field label="Name">
        <Input
          name="name"
          required
          maxLength={200}
          defaultValue={state.phase === "failed" ? state.parcel.label : nameOf(files)}
          autoComplete="off"
        />
      </Field>
      <Files files={files} />
      {state.phase === "failed" && <ErrorNotice error={state.problem} title="The model was not taken" />}
      <div className="flex justify-end gap-2">
        <Button onClick={others}>Other files</Button>
        <Button type="submit" variant="primary">
          Upload {bytes(sizeOf(files))}
        </Button>
      </div>
    </form>
  );
}

const shownFiles = 8;

function Files({ files }: { files: File[] }) {
  const rest = files.length - shownFiles;
  return (
    <ul aria-label="Files" className="divide-y divide-line rounded border border-line text-sm">
      {files.slice(0, shownFiles).map((file, i) => (
        <li key={i} className="flex justify-between gap-4 px-3 py-1.5">
          <span className="min-w-0 truncate">{file.name}</span>
          <span className="tabular shrink-0 text-ink-3">{bytes(file.size)}</span>
        </li>
      ))}
      {rest > 0 && <li className="px-3 py-1.5 text-ink-3">and {plural(rest, "more file")}</li>}
    </ul>
  );
}

const sizeOf = (files: File[]) => files.reduce((sum, { size }) => sum + size, 0);

const archive = /\.(zip|tar|tar\.gz|tgz)$/i;

/** What an archive is called; the files of a folder do not tell. */
const nameOf = ([first]: File[]) => (first && archive.test(first.name) ? first.name.replace(archive, "") : "");

function parcelOf(files: File[], name: string): Parcel {
  const form = new FormData();
  form.set("name", name);
  const project = currentProject();
  if (project) form.set("project_id", project);
  for (const file of files) form.append("file", file); // the server wants them last
  return { label: name, size: sizeOf(files), form };
}
