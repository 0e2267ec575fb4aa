"use client";

import { Toast } from "@base-ui/react/toast";
import { CircleCheck, Info, OctagonAlert, X } from "lucide-react";
import { useEffect, useState } from "react";
import { Button, IconButton } from "./Button";
import { connect } from "./Toasts";

const icons = {
  good: <CircleCheck aria-hidden className="size-4 text-good" />,
  info: <Info aria-hidden className="size-4 text-accent-ink" />,
  bad: <OctagonAlert aria-hidden className="size-4 text-bad" />,
};

export default function ToastList() {
  const [manager] = useState(() => Toast.createToastManager());
  // Its provider listens from its own effects on, which run before this one.
  useEffect(() => connect(manager), [manager]);
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
