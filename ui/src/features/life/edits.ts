import { api, type Schemas } from "@/lib/api/client";

export type Edit = Schemas["Edit"];
export type Priority = Schemas["Priority"];

/** What people say of a thing; the rest of it is not theirs to change. */
export type Said = { name?: string; notes?: string; tags?: string[]; priority?: Priority };

/** How a thing is read to be changed, with the version that the change is meant for, and how it is written. */
export type Editable = {
  key: string;
  read: () => Promise<{ said: Said; etag: string }>;
  write: (edit: Edit, etag: string) => Promise<unknown>;
};

type Told = { data?: Said; response: Response };

const read = async (asked: Promise<Told>) => {
  const { data, response } = await asked;
  return { said: data!, etag: response.headers.get("ETag") ?? "*" };
};

/** A training that has ended will not wait in line again: its priority is nobody's to change. */
function whileItMayWait(asked: { data?: Schemas["Job"]; response: Response }): Told {
  return asked.data?.completed_at ? { ...asked, data: { ...asked.data, priority: undefined } } : asked;
}

const at = (id: string) => ({ params: { path: { id } } });
const versioned = (id: string, etag: string, body: Edit) => ({
  params: { path: { id }, header: { "If-Match": etag } },
  body,
});

export const editDataset = (id: string): Editable => ({
  key: id,
  read: () => read(api.GET("/api/datasets/{id}", at(id))),
  write: (edit, etag) => api.PATCH("/api/datasets/{id}", versioned(id, etag, edit)),
});

export const editModel = (id: string): Editable => ({
  key: id,
  read: () => read(api.GET("/api/models/{id}", at(id))),
  write: (edit, etag) => api.PATCH("/api/models/{id}", versioned(id, etag, edit)),
});

export const editJob = (id: string): Editable => ({
  key: id,
  read: () => read(api.GET("/api/training/{id}", at(id)).then(whileItMayWait)),
  write: (edit, etag) => api.PATCH("/api/training/{id}", versioned(id, etag, edit)),
});
