import type { ReactNode } from "react";
import { Notice, RunErrorNotice } from "@/components/Notice";
import type { Dataset } from "./queries";

/** No column has a name that is known, and nobody has said yet what they mean. */
export const nobodyKnows = ({ error, options }: Dataset) =>
  error?.field === "mapping" && Object.keys(options?.mapping ?? {}).length === 0;

/** Why a file could not be read as a dataset, and what to do about it. */
export function Unusable({ dataset, actions }: { dataset: Dataset; actions?: ReactNode }) {
  return nobodyKnows(dataset) ? (
    <Notice kind="warn" title="Say what its columns mean" actions={actions}>
      No column has a name that is known. Choose which one is asked and which one is to be learnt, and have the file
      read again.
    </Notice>
  ) : (
    <RunErrorNotice error={dataset.error} title="This file cannot be used as it is" actions={actions} />
  );
}
