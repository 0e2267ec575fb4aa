import { Notice } from "@/components/Notice";
import { When } from "@/components/When";
import { plural } from "@/lib/format";
import type { Job } from "./queries";

/** What failures have changed in a run that went on after them by itself: when, why and to what. */
export default function Setbacks({ setbacks }: { setbacks: NonNullable<Job["setbacks"]> }) {
  return (
    <Notice
      kind="warn"
      title={`It went on by itself after ${setbacks.length === 1 ? "a setback" : plural(setbacks.length, "setback")}`}
    >
      <ul className="mt-1 grid gap-1.5">
        {setbacks.map(({ at, text }) => (
          <li key={at + text}>
            {text}{" "}
            <span className="whitespace-nowrap text-ink-3 text-sm">
              <When at={at} />
            </span>
          </li>
        ))}
      </ul>
    </Notice>
  );
}
