import { QueryClientProvider } from "@tanstack/react-query";
import { render } from "@testing-library/react";
import type { ReactElement } from "react";
import { Toasts } from "@/components/Toasts";
import { newQueryClient } from "@/features/shell/Providers";

/** Renders as the app does, with a cache of its own and without waiting between retries. */
export function renderApp(element: ReactElement) {
  const client = newQueryClient();
  client.setDefaultOptions({ queries: { ...client.getDefaultOptions().queries, retry: false } });
  return render(
    <QueryClientProvider client={client}>
      {element}
      <Toasts />
    </QueryClientProvider>,
  );
}
