import { useProjectId } from "@/features/projects/current";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, type ListQuery, many, pageSize } from "@/lib/api/lists";
import { none } from "@/lib/format";

export type Model = Schemas["Model"];

export const useModels = (query: ListQuery<"/api/models"> = {}, enabled = true) =>
  $api.useQuery(
    "get",
    "/api/models",
    { params: { query: { limit: pageSize, project_id: useProjectId(), ...query } } },
    { enabled, ...keepPage },
  );

export const useModel = (id: string) =>
  $api.useQuery("get", "/api/models/{id}", { params: { path: { id } } }, { enabled: id !== "" });

/** What to call models by their ids; an id that no list has yet is its own name. */
export function useModelNames(needed = true): (id: string) => string {
  const models = useModels({ limit: many }, needed).data?.items;
  return (id) => models?.find((model) => model.id === id)?.name ?? id;
}

const methods: Record<string, string> = { lora: "LoRA", qlora: "QLoRA", full: "All weights" };

/** How a tuned model was made, in words. */
export const methodOf = ({ method = "" }: Model) => methods[method] ?? (method || "Tuned");

export const isBundled = ({ source }: Model) => source?.startsWith("bundled:") ?? false;

/** Where a base model comes from, in words. */
export function originOf({ source = "" }: Model): string {
  const [scheme, name] = [source.split(":", 1)[0], source.slice(source.indexOf(":") + 1)];
  switch (scheme) {
    case "bundled":
      return "VibeFlow itself: nothing is downloaded";
    case "tiny":
      return "VibeFlow itself, for tests";
    case "hub":
      return `The Hugging Face Hub: ${name}`;
    case "path":
      return `A folder of this machine: ${name}`;
    case "upload":
      return "Uploaded here";
    default:
      return source || none;
  }
}

export const modelHref = (id: string) => `/model?id=${encodeURIComponent(id)}`;
