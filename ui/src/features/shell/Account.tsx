"use client";

import { Check, ChevronsUpDown, FolderKanban, LogOut, Monitor, Moon, Plus, Sun, UserRound } from "lucide-react";
import { useRouter } from "next/navigation";
import { lazy, Suspense } from "react";
import { Menu, type MenuEntry } from "@/components/Menu";
import { Segmented } from "@/components/Segmented";
import { toast } from "@/components/Toasts";
import { nameOf, useMe } from "@/features/account/queries";
import { leaveFor } from "@/features/account/returning";
import { chooseProject, useProjectId } from "@/features/projects/current";
import { useProjects } from "@/features/projects/queries";
import { api } from "@/lib/api/client";
import { setTheme, type ThemeChoice, useThemeChoice } from "./theme";

const UnlistedProject = lazy(() => import("@/features/projects/UnlistedProject"));

/** Who is signed in, and the theme. */
export function Account() {
  const me = useMe();
  const router = useRouter();
  const name = nameOf(me.data?.user);
  return (
    <div className="grid gap-2 border-line border-t pt-3">
      <Menu
        align="start"
        trigger={
          <button
            type="button"
            className="flex h-10 min-w-0 items-center gap-2.5 rounded px-2 text-left hover:bg-sunken"
          >
            <span
              aria-hidden
              className="flex size-7 shrink-0 items-center justify-center rounded-full bg-accent-soft text-accent-ink"
            >
              <UserRound className="size-4" />
            </span>
            <span className="min-w-0 flex-1 truncate text-sm">{me.data ? name : " "}</span>
            <ChevronsUpDown aria-hidden className="size-4 shrink-0 text-ink-3" />
          </button>
        }
        entries={[
          ...(me.data && !me.data.user
            ? [
                {
                  label: "Make an account",
                  icon: <Plus aria-hidden className="size-4" />,
                  onSelect: () => router.push("/welcome"),
                },
              ]
            : []),
          {
            label: "Your account",
            icon: <UserRound aria-hidden className="size-4" />,
            onSelect: () => router.push("/settings?tab=account"),
          },
          "line",
          { label: "Sign out", icon: <LogOut aria-hidden className="size-4" />, onSelect: signOut },
        ]}
      />
      <ThemeSwitch />
    </div>
  );
}

function signOut() {
  api.POST("/api/auth/logout", { body: {} }).then(
    () => leaveFor("/login"),
    (error) => toast.bad("You are still signed in", error),
  );
}

/** Narrows the app to one project. */
export function ProjectSwitch() {
  const projects = useProjects();
  const current = useProjectId();
  const router = useRouter();
  const all = projects.data?.items;
  const items = all?.filter(({ status }) => status === "active") ?? [];
  const chosen = all?.find(({ id }) => id === current);
  const mark = (on: boolean) => <Check aria-hidden className={on ? "size-4" : "invisible size-4"} />;
  const entries: (MenuEntry | "line")[] = [
    { label: "All projects", icon: mark(!current), onSelect: () => chooseProject(undefined) },
    ...items.map(({ id, name }) => ({ label: name, icon: mark(id === current), onSelect: () => chooseProject(id) })),
    "line",
    {
      label: "Manage projects",
      icon: <FolderKanban aria-hidden className="size-4" />,
      onSelect: () => router.push("/projects"),
    },
  ];
  return (
    <>
      <Menu
        align="start"
        trigger={
          <button
            type="button"
            className="flex h-9 min-w-0 items-center gap-2 rounded border border-line bg-surface px-3 text-sm hover:border-line-strong"
          >
            <FolderKanban aria-hidden className="size-4 shrink-0 text-ink-3" />
            <span className="min-w-0 flex-1 truncate text-left">
              <span className="sr-only">Project: </span>
              {chosen?.name ?? (current ? "…" : "All projects")}
            </span>
            <ChevronsUpDown aria-hidden className="size-4 shrink-0 text-ink-3" />
          </button>
        }
        entries={entries}
      />
      <Suspense>{all && current && !chosen && <UnlistedProject id={current} />}</Suspense>
    </>
  );
}

const themes: { value: ThemeChoice; label: string; icon: typeof Sun }[] = [
  { value: "light", label: "Light", icon: Sun },
  { value: "dark", label: "Dark", icon: Moon },
  { value: "system", label: "As the system", icon: Monitor },
];

export function ThemeSwitch() {
  const choice = useThemeChoice();
  return (
    <Segmented
      label="Theme"
      value={choice}
      onChange={setTheme}
      options={themes.map(({ value, label, icon: Icon }) => ({
        value,
        label: (
          <span title={label}>
            <Icon aria-hidden className="size-4" />
            <span className="sr-only">{label}</span>
          </span>
        ),
      }))}
    />
  );
}
