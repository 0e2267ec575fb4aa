import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api, type Schemas } from "@/lib/api/client";
import { useSettled } from "@/lib/useSettled";
import { overridesOf, type Values } from "./settings";

export type Recommendation = Schemas["Recommendation"];

const typingPause = 350;

/** What the server proposes around the user's choices, asked for once the user has stopped typing. */
export function useRecommendation(datasetId: string, modelId: string, values: Values) {
  const settled = useSettled(values, typingPause);
  const query = useQuery({
    queryKey: ["recommendation", datasetId, modelId, settled],
    enabled: datasetId !== "",
    placeholderData: keepPreviousData,
    staleTime: 60_000,
    queryFn: async ({ signal }) => {
      const { data } = await api.POST("/api/training/recommend", {
        body: { dataset_id: datasetId, model_id: modelId || undefined, config: overridesOf(settled) },
        signal,
      });
      return data!;
    },
  });
  return { ...query, settling: settled !== values || query.isFetching };
}
