import "@fontsource-variable/inter";
import "./globals.css";
import { readFileSync } from "node:fs";
import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";
import { Providers } from "@/features/shell/Providers";

export const metadata: Metadata = {
  title: "VibeFlow",
  description: "Fine-tune, evaluate and deploy language models that survive anything that happens to the machine.",
  applicationName: "VibeFlow",
  icons: { icon: "/icon.svg", apple: "/icon-192.png" },
  manifest: "/manifest.webmanifest",
};

export const viewport: Viewport = {
  width: "device-width",
  initialScale: 1,
  themeColor: [
    { media: "(prefers-color-scheme: light)", color: "#faf9f7" },
    { media: "(prefers-color-scheme: dark)", color: "#101114" },
  ],
};

// The theme is set before the first paint, and without a request that would hold it up.
const theme = readFileSync("public/theme.js", "utf8");

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en" suppressHydrationWarning>
      <head>
        <script dangerouslySetInnerHTML={{ __html: theme }} />
      </head>
      <body>
        <Providers>{children}</Providers>
      </body>
    </html>
  );
}
