import { api } from "@/lib/api/client";

// What each kind's deletion asks; with preview nothing goes, and the answer says what would.

const params = (id: string, preview: boolean) => ({ params: { path: { id }, query: { preview } } });

export const deleteDataset = (id: string) => async (preview: boolean) =>
  (await api.DELETE("/api/datasets/{id}", params(id, preview))).data!;

export const deleteModel = (id: string) => async (preview: boolean) =>
  (await api.DELETE("/api/models/{id}", params(id, preview))).data!;

export const deleteJob = (id: string) => async (preview: boolean) =>
  (await api.DELETE("/api/training/{id}", params(id, preview))).data!;

export const deleteEvaluation = (id: string) => async (preview: boolean) =>
  (await api.DELETE("/api/evaluation/{id}", params(id, preview))).data!;

export const deletePipeline = (id: string) => async (preview: boolean) =>
  (await api.DELETE("/api/pipelines/{id}", params(id, preview))).data!;
