import { Filter } from "@/components/Listing";
import type { Listing } from "@/lib/listing";

/** Shows, and takes away, the tag that a list was opened with. */
export function TagFilter({ list }: { list: Listing }) {
  if (!list.get("tag")) return null;
  return <Filter list={list} name="tag" label="Tag" any="Any tag" options={[]} />;
}
