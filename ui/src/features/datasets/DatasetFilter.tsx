import { Filter } from "@/components/Listing";
import { many } from "@/lib/api/lists";
import type { Listing } from "@/lib/listing";
import { useDatasets } from "./queries";

/** Narrows a list to what is about one dataset. */
export function DatasetFilter({ list }: { list: Listing }) {
  const datasets = useDatasets({ sort: "name", limit: many });
  const options = (datasets.data?.items ?? []).map(({ id, name }) => [id, name] as const);
  return <Filter list={list} name="dataset" label="Dataset" any="Any dataset" options={options} />;
}
