import { Filter } from "@/components/Listing";
import { many } from "@/lib/api/lists";
import type { Listing } from "@/lib/listing";
import { useModels } from "./queries";

/** Narrows a list to what began from one model. */
export function BaseModelFilter({ list }: { list: Listing }) {
  const models = useModels({ kind: "base", sort: "name", limit: many });
  const options = (models.data?.items ?? []).map(({ id, name }) => [id, name] as const);
  return <Filter list={list} name="model" label="Base model" any="Any base model" options={options} />;
}
