"use client";

import { lazy, type ReactNode, type RefObject, Suspense, useState } from "react";
import { Button } from "./Button";

export type DialogProps = {
  open: boolean;
  onClose: () => void;
  title: string;
  description?: ReactNode;
  children?: ReactNode;
  footer?: ReactNode;
  /** What gets the focus first; the first control if absent. */
  initialFocus?: RefObject<HTMLElement | null>;
  size?: "sm" | "md" | "lg";
  role?: "dialog" | "alertdialog";
  /** A press beside it does not close it: what it has would be lost. */
  stays?: boolean;
};

const DialogPopup = lazy(() => import("./DialogPopup"));

/** Asks or shows something over the page. What it needs is loaded when it is first opened. */
export function Dialog(props: DialogProps) {
  const [wanted, setWanted] = useState(props.open);
  if (props.open && !wanted) setWanted(true);
  if (!wanted) return null;
  return (
    <Suspense>
      <DialogPopup {...props} />
    </Suspense>
  );
}

type ConfirmProps = {
  open: boolean;
  onClose: () => void;
  title: string;
  /** What happens, and what goes with it. */
  children: ReactNode;
  action: string;
  cancel?: string;
  danger?: boolean;
  busy?: boolean;
  /** It cannot be said yes to. */
  disabled?: boolean;
  onConfirm: () => void;
};

/** Asks before something that cannot be taken back. The focus is on the safe button. */
export function Confirm({
  open,
  onClose,
  title,
  children,
  action,
  cancel = "Keep it",
  danger,
  busy,
  disabled,
  onConfirm,
}: ConfirmProps) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={title}
      role="alertdialog"
      footer={
        <>
          <Button autoFocus onClick={onClose}>
            {cancel}
          </Button>
          <Button variant={danger ? "danger" : "primary"} busy={busy} disabled={disabled} onClick={onConfirm}>
            {action}
          </Button>
        </>
      }
    >
      <div className="text-ink-2">{children}</div>
    </Dialog>
  );
}
