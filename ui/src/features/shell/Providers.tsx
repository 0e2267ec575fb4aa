"use client";

import { MutationCache, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { type ReactNode, useEffect, useState } from "react";
import { Toasts } from "@/components/Toasts";
import { asProblem } from "@/lib/api/problem";
import { persist } from "@/lib/persist";
import { AppUpdate } from "./AppUpdate";

export function Providers({ children }: { children: ReactNode }) {
  const [client] = useState(newQueryClient);
  useEffect(() => persist(client), [client]);
  return (
    <QueryClientProvider client={client}>
      {children}
      <Toasts />
      <AppUpdate />
    </QueryClientProvider>
  );
}

/** What was asked for is shown at once and asked for again; a refusal is final, an unreachable server is not. */
export function newQueryClient(): QueryClient {
  const client: QueryClient = new QueryClient({
    defaultOptions: {
      queries: {
        staleTime: 5_000,
        retry: (failures, error) => {
          const { status } = asProblem(error);
          return (status === 0 || status >= 500) && failures < 2;
        },
        retryDelay: (failures) => Math.min(500 * 2 ** failures, 4_000),
        // Loopback works without a network: the browser's own idea of being offline decides nothing.
        networkMode: "always",
      },
      mutations: { networkMode: "always" },
    },
    // What was changed may show anywhere; lists are small, and on this machine.
    mutationCache: new MutationCache({ onSuccess: () => client.invalidateQueries() }),
  });
  return client;
}
