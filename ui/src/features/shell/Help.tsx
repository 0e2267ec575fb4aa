"use client";

import { Dialog } from "@/components/Dialog";
import { allDestinations } from "./navigation";

const general: [string[], string][] = [
  [["Ctrl", "K"], "Search and commands"],
  [["/"], "Search the list"],
  [["?"], "This list"],
  [["Esc"], "Close what is open"],
];

export default function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog open onClose={onClose} title="Keyboard">
      <dl className="grid gap-2">
        {general.map(([keys, what]) => (
          <Line key={what} keys={keys} what={what} />
        ))}
        {allDestinations.map(({ key, label }) => (
          <Line key={key} keys={["g", key]} what={`Go to ${label}`} />
        ))}
      </dl>
    </Dialog>
  );
}

function Line({ keys, what }: { keys: string[]; what: string }) {
  return (
    <div className="flex items-center justify-between gap-4">
      <dt>{what}</dt>
      <dd className="flex gap-1">
        {keys.map((key) => (
          <kbd key={key} className="rounded-sm border border-line bg-sunken px-1.5 py-0.5 font-sans text-xs">
            {key}
          </kbd>
        ))}
      </dd>
    </div>
  );
}
