import { useState } from "react";
import EditForm from "./EditForm";
import { type Editable, editDataset, editJob, editModel } from "./edits";

export type Kind = "dataset" | "model" | "job";

const edits: Record<Kind, (id: string) => Editable> = { dataset: editDataset, model: editModel, job: editJob };

type EditByIdProps = { kind: Kind; id: string; onDone: () => void };

/** The form and what it writes to, loaded together when somebody edits. */
export default function EditById({ kind, id, onDone }: EditByIdProps) {
  const [edit] = useState(() => edits[kind](id));
  return <EditForm edit={edit} onDone={onDone} />;
}
