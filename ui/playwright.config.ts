import { defineConfig } from "@playwright/test";

// The system's Chromium: a browser build of Playwright's own is not to be had everywhere.
const executablePath = process.env.VIBEFLOW_CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests/browser",
  outputDir: ".next/test-results",
  // One server, and its story in order.
  workers: 1,
  fullyParallel: false,
  timeout: 900_000,
  expect: { timeout: 60_000 },
  reporter: [["list"]],
  use: {
    launchOptions: {
      executablePath,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
    viewport: { width: 1280, height: 800 },
    actionTimeout: 30_000,
    trace: "retain-on-failure",
  },
});
