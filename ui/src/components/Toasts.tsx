"use client";

import { Toast } from "@base-ui/react/toast";
import { CircleCheck, Info, OctagonAlert, X } from "lucide-react";
import { asProblem } from "@/lib/api/problem";
import { Button, IconButton } from "./Button";
import { sentence } from "./Notice";

const manager = Toast.createToastManager();

type Offer = { label: string; onClick: () => void };

/** Says briefly what has happened; an offer undoes it or goes on from it. */
export const toast = {
  good: (title: string, offer?: Offer) => add("good", title, undefined, offer),
  info: (title: string, description?: string, offer?: Offer, timeout?: number) =>
    add("info", title, description, offer, timeout),
  /** What could not be done, with what to do about it. */
  bad: (title: string, error: unknown) => {
    const problem = asProblem(error);
    add(
      "bad",
      title,
      [problem.message, problem.remedy]
        .filter((text) => text !== undefined)
        .map(sentence)
        .join(" "),
      undefined,
      12_000,
    );
  },
};

function add(type: string, title: string, description?: string, offer?: Offer, timeout?: number) {
  manager.add({
    type,
    title,
    description,
    timeout: timeout ?? (offer ? 10_000 : 5_000),
    priority: type === "bad" ? "high" : "low",
    actionProps: offer && { children: offer.label, onClick: offer.onClick },
  });
}

const icons = {
  good: <CircleCheck aria-hidden className="size-4 text-good" />,
  info: <Info aria-hidden className="size-4 text-accent-ink" />,
  bad: <OctagonAlert aria-hidden className="size-4 text-bad" />,
};

export function Toasts() {
  return (
    <Toast.Provider toastManager={manager}>
      <Toast.Portal>
        <Toast.Viewport className="fixed right-4 bottom-4 left-4 z-60 flex flex-col gap-2 sm:left-auto sm:w-96">
          <List />
        </Toast.Viewport>
      </Toast.Portal>
    </Toast.Provider>
  );
}

function List() {
  const { toasts } = Toast.useToastManager();
  return toasts.map((item) => (
    <Toast.Root
      key={item.id}
      toast={item}
      className="animate-rise rounded-lg border border-line bg-surface shadow-raised"
    >
      <Toast.Content className="flex items-start gap-3 py-3 pr-2 pl-4">
        <span className="mt-0.5">{icons[(item.type ?? "info") as keyof typeof icons]}</span>
        <div className="min-w-0 flex-1">
          <Toast.Title className="break-words font-medium text-base" />
          <Toast.Description className="break-words text-ink-2 text-sm" />
          {item.actionProps && <Toast.Action render={<Button size="sm" className="mt-2" />} />}
        </div>
        <Toast.Close render={<IconButton label="Dismiss" className="size-7" />}>
          <X aria-hidden className="size-4" />
        </Toast.Close>
      </Toast.Content>
    </Toast.Root>
  ));
}
