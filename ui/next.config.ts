import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import type { NextConfig } from "next";

// In development the API is another process; in production the same Go server answers for both.
const api = process.env.VIBEFLOW_URL ?? "http://127.0.0.1:8400";
const development = process.env.NODE_ENV === "development";

// What a browser kept of the API's answers is not read by an app that knows another API.
const document = createHash("sha256").update(readFileSync("../api/openapi.yaml")).digest("hex").slice(0, 12);

const config: NextConfig = {
  reactStrictMode: true,
  experimental: { optimisticRouting: false, varyParams: false },
  poweredByHeader: false,
  env: { NEXT_PUBLIC_API: document },
  images: { unoptimized: true },
  // `npm run check` does, in the gate; a build need not wait for it.
  typescript: { ignoreBuildErrors: true },
  ...(development
    ? {
        async rewrites() {
          return ["api", "v1", "signin", "healthz", "temporal"].flatMap((path) => [
            { source: `/${path}`, destination: `${api}/${path}` },
            { source: `/${path}/:rest*`, destination: `${api}/${path}/:rest*` },
          ]);
        },
      }
    : { output: "export" as const, distDir: ".next" }),
};

export default config;
