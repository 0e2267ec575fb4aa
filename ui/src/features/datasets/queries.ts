import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, pageSize } from "@/lib/api/lists";
import { pollList, pollOne } from "@/lib/poll";
import type { Profile } from "./profile";

export type Dataset = Schemas["Dataset"];
export type ProcessOptions = Schemas["ProcessOptions"];

export const useDatasets = (query: ListQuery<"/api/datasets"> = {}) =>
  $api.useQuery(
    "get",
    "/api/datasets",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { refetchInterval: pollList, ...keepPage },
  );

export const useDataset = (id: string) =>
  $api.useQuery(
    "get",
    "/api/datasets/{id}",
    { params: { path: { id } } },
    { refetchInterval: pollOne, enabled: id !== "" },
  );

export const profileOf = (dataset: Dataset) =>
  dataset.profile && "rows" in dataset.profile ? (dataset.profile as Profile) : undefined;

/** A profile without counts is that of a file whose columns are not understood. */
export const isCounted = (profile: Profile | undefined): profile is Profile =>
  profile !== undefined && profile.rows > 0;

export const datasetHref = (id: string) => `/dataset?id=${id}`;

export const formats: Record<string, string> = {
  messages: "Chat messages",
  sharegpt: "ShareGPT conversations",
  alpaca: "Instructions",
  question_answer: "Questions and answers",
  prompt_completion: "Prompts and completions",
  preference: "Preference pairs",
  text: "Plain text",
};
