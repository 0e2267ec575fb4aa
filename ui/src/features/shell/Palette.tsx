"use client";

import { Dialog } from "@base-ui/react/dialog";
import { Command } from "cmdk";
import { Boxes, ChartNoAxesColumn, Database, Keyboard, Plus, SunMoon, Workflow } from "lucide-react";
import { useRouter } from "next/navigation";
import { type ReactNode, useState } from "react";
import { $api } from "@/lib/api/client";
import { keepPage } from "@/lib/api/lists";
import { useSettled } from "@/lib/useSettled";
import { allDestinations } from "./navigation";
import { setTheme, useTheme } from "./theme";

const typingPause = 150;

/** Everything that can be gone to or done, found by typing. */
export default function Palette({ onClose, onHelp }: { onClose: () => void; onHelp: () => void }) {
  const router = useRouter();
  const theme = useTheme();
  const [typed, setTyped] = useState("");
  // Without a search, what is recent; with one, what the server finds among everything.
  const asked = { params: { query: { limit: 20, q: useSettled(typed.trim(), typingPause) || undefined } } };
  const jobs = $api.useQuery("get", "/api/training", asked, keepPage).data?.items ?? [];
  const datasets = $api.useQuery("get", "/api/datasets", asked, keepPage).data?.items ?? [];
  const models = $api.useQuery("get", "/api/models", asked, keepPage).data?.items ?? [];
  const pipelines = $api.useQuery("get", "/api/pipelines", asked, keepPage).data?.items ?? [];
  const go = (href: string) => {
    onClose();
    router.push(href);
  };
  return (
    <Dialog.Root open onOpenChange={(open) => !open && onClose()}>
      <Dialog.Portal>
        <Dialog.Backdrop className="fixed inset-0 z-40 bg-[rgb(10_10_15/0.5)]" />
        <Dialog.Popup
          aria-label="Search and commands"
          className="fixed inset-x-3 top-[10vh] z-50 mx-auto max-w-xl animate-rise overflow-hidden rounded-lg border border-line bg-surface shadow-raised"
        >
          <Command label="Search and commands" loop>
            <Command.Input
              autoFocus
              value={typed}
              onValueChange={setTyped}
              maxLength={200}
              placeholder="Search, or type what to do"
              className="h-12 w-full border-line border-b bg-transparent px-4 text-lg outline-none placeholder:text-ink-3"
            />
            <Command.List className="max-h-[50vh] overflow-y-auto p-1.5">
              <Command.Empty className="px-3 py-8 text-center text-ink-3">Nothing is called that.</Command.Empty>
              <Group heading="Do">
                <Entry
                  icon={<Plus aria-hidden className="size-4" />}
                  onSelect={() => go("/new")}
                  value="new model pipeline from a file"
                >
                  New model from a file
                </Entry>
                <Entry
                  icon={<Database aria-hidden className="size-4" />}
                  onSelect={() => go("/datasets?upload=1")}
                  value="upload dataset"
                >
                  Upload a dataset
                </Entry>
                <Entry
                  icon={<ChartNoAxesColumn aria-hidden className="size-4" />}
                  onSelect={() => go("/train")}
                  value="start training"
                >
                  Start a training
                </Entry>
                <Entry
                  icon={<SunMoon aria-hidden className="size-4" />}
                  onSelect={() => setTheme(theme === "dark" ? "light" : "dark")}
                  value="theme light dark"
                >
                  {theme === "dark" ? "Light theme" : "Dark theme"}
                </Entry>
                <Entry
                  icon={<Keyboard aria-hidden className="size-4" />}
                  onSelect={onHelp}
                  value="keyboard shortcuts help"
                >
                  Keyboard shortcuts
                </Entry>
              </Group>
              <Group heading="Go to">
                {allDestinations.map(({ href, label, icon: Icon }) => (
                  <Entry
                    key={href}
                    icon={<Icon aria-hidden className="size-4" />}
                    onSelect={() => go(href)}
                    value={`go ${label}`}
                  >
                    {label}
                  </Entry>
                ))}
              </Group>
              {pipelines.length > 0 && (
                <Group heading="Pipelines">
                  {pipelines.map((p) => (
                    <Entry
                      key={p.id}
                      icon={<Workflow aria-hidden className="size-4" />}
                      onSelect={() => go(`/pipeline?id=${p.id}`)}
                      value={`${p.name} ${p.id}`}
                    >
                      {p.name || p.id}
                    </Entry>
                  ))}
                </Group>
              )}
              {jobs.length > 0 && (
                <Group heading="Training">
                  {jobs.map((job) => (
                    <Entry
                      key={job.id}
                      icon={<ChartNoAxesColumn aria-hidden className="size-4" />}
                      onSelect={() => go(`/job?id=${job.id}`)}
                      value={`${job.name} ${job.id}`}
                    >
                      {job.name || job.id}
                    </Entry>
                  ))}
                </Group>
              )}
              {datasets.length > 0 && (
                <Group heading="Datasets">
                  {datasets.map((d) => (
                    <Entry
                      key={d.id}
                      icon={<Database aria-hidden className="size-4" />}
                      onSelect={() => go(`/dataset?id=${d.id}`)}
                      value={`${d.name} ${d.id}`}
                    >
                      {d.name}
                    </Entry>
                  ))}
                </Group>
              )}
              {models.length > 0 && (
                <Group heading="Models">
                  {models.map((m) => (
                    <Entry
                      key={m.id}
                      icon={<Boxes aria-hidden className="size-4" />}
                      onSelect={() => go(`/model?id=${encodeURIComponent(m.id)}`)}
                      value={`${m.name} ${m.id}`}
                    >
                      {m.name}
                    </Entry>
                  ))}
                </Group>
              )}
            </Command.List>
          </Command>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Group({ heading, children }: { heading: string; children: ReactNode }) {
  return (
    <Command.Group
      heading={heading}
      className="mb-1 [&_[cmdk-group-heading]]:px-2.5 [&_[cmdk-group-heading]]:py-1.5 [&_[cmdk-group-heading]]:text-ink-3 [&_[cmdk-group-heading]]:text-xs"
    >
      {children}
    </Command.Group>
  );
}

function Entry({
  icon,
  children,
  onSelect,
  value,
}: {
  icon: ReactNode;
  children: ReactNode;
  onSelect: () => void;
  value: string;
}) {
  return (
    <Command.Item
      value={value}
      onSelect={onSelect}
      className="flex h-9 cursor-pointer items-center gap-2.5 rounded px-2.5 data-[selected=true]:bg-sunken"
    >
      <span className="text-ink-3">{icon}</span>
      <span className="min-w-0 truncate">{children}</span>
    </Command.Item>
  );
}
