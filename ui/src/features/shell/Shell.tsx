"use client";

import { Menu as MenuIcon, Search, X } from "lucide-react";
import { usePathname } from "next/navigation";
import { lazy, type ReactNode, Suspense, useEffect, useRef, useState } from "react";
import { flushSync } from "react-dom";
import { IconButton } from "@/components/Button";
import { ConnectionBanner } from "./ConnectionBanner";
import { Logo } from "./Logo";
import { SessionGuard } from "./SessionGuard";
import { Sidebar } from "./Sidebar";
import { useShortcuts } from "./useShortcuts";

const Palette = lazy(() => import("./Palette"));
const Help = lazy(() => import("./Help"));

/** The frame of every page of the app. */
export function Shell({ children }: { children: ReactNode }) {
  const [open, setOpen] = useState<"palette" | "help" | undefined>();
  useShortcuts({ onPalette: () => setOpen("palette"), onHelp: () => setOpen("help") });
  const close = () => setOpen(undefined);
  return (
    <div className="lg:grid lg:grid-cols-[15rem_1fr]">
      <a
        href="#main"
        className="-translate-y-16 fixed top-2 left-2 z-60 rounded bg-accent px-3 py-2 text-on-accent focus:translate-y-0"
      >
        Skip to the content
      </a>
      <aside className="sticky top-0 hidden h-dvh border-line border-r bg-sunken/50 lg:block">
        <Sidebar onSearch={() => setOpen("palette")} />
      </aside>
      <TopBar onSearch={() => setOpen("palette")} />
      <main id="main" tabIndex={-1} className="min-w-0 outline-none">
        {children}
      </main>
      <ConnectionBanner />
      <SessionGuard />
      <Suspense>
        {open === "palette" && <Palette onClose={close} onHelp={() => setOpen("help")} />}
        {open === "help" && <Help onClose={close} />}
      </Suspense>
    </div>
  );
}

function TopBar({ onSearch }: { onSearch: () => void }) {
  const drawer = useRef<HTMLDialogElement>(null);
  const [wanted, setWanted] = useState(false);
  const open = () => {
    // What is in it is made with the first opening, and has to be there for the focus.
    flushSync(() => setWanted(true));
    drawer.current?.showModal();
  };
  const pathname = usePathname();
  // biome-ignore lint/correctness/useExhaustiveDependencies: another page closes the drawer
  useEffect(() => drawer.current?.close(), [pathname]);
  return (
    <header className="sticky top-0 z-30 flex h-14 items-center gap-1 border-line border-b bg-bg px-2 lg:hidden">
      <IconButton label="Menu" onClick={open}>
        <MenuIcon aria-hidden className="size-5" />
      </IconButton>
      <Logo />
      <IconButton label="Search" className="ml-auto" onClick={onSearch}>
        <Search aria-hidden className="size-5" />
      </IconButton>
      <dialog
        ref={drawer}
        aria-label="Menu"
        className="m-0 h-dvh max-h-none w-72 max-w-[85vw] border-line border-r bg-bg text-ink backdrop:bg-[rgb(10_10_15/0.5)]"
        onClick={(event) => event.target === drawer.current && drawer.current.close()}
        onKeyDown={undefined}
      >
        <IconButton label="Close the menu" className="absolute top-3 right-2" onClick={() => drawer.current?.close()}>
          <X aria-hidden className="size-5" />
        </IconButton>
        {wanted && (
          <Sidebar
            onSearch={() => {
              drawer.current?.close();
              onSearch();
            }}
          />
        )}
      </dialog>
    </header>
  );
}
