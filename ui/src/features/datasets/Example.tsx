import { cx } from "@/components/cx";

type Turn = { role: string; content: string };
type Part = { who: string; text: string; learnt: boolean };

const names: Record<string, string> = { system: "System", user: "User", assistant: "Assistant", tool: "Tool" };

/** A row as it is trained on: what the model reads, and what it learns to write. */
export function Example({ number, row, total }: { number: number; row: Record<string, unknown>; total: number }) {
  return (
    <article aria-posinset={number} aria-setsize={total} aria-label={`Row ${number}`} className="grid gap-2 px-4 py-3">
      <p className="tabular text-ink-3 text-xs">Row {number}</p>
      {partsOf(row).map((part, i) => (
        <div key={i} className="grid gap-x-3 sm:grid-cols-[5.5rem_1fr]">
          <span className="text-ink-3 text-sm">{part.who}</span>
          <p
            className={cx(
              "whitespace-pre-wrap break-words [overflow-wrap:anywhere]",
              part.learnt && "rounded-sm bg-accent-soft px-1.5 py-0.5 ring-1 ring-accent-ink/25",
            )}
          >
            {part.text}
          </p>
        </div>
      ))}
    </article>
  );
}

function partsOf(row: Record<string, unknown>): Part[] {
  if (Array.isArray(row.messages)) return turns(row.messages as Turn[], "assistant");
  if ("chosen" in row) {
    return [
      ...texts("Prompt", row.prompt, false),
      ...texts("Preferred", row.chosen, true),
      ...texts("Refused", row.rejected, false),
    ];
  }
  if ("prompt" in row || "completion" in row) {
    return [...texts("Prompt", row.prompt, false), ...texts("Completion", row.completion, true)];
  }
  if ("text" in row) return texts("Text", row.text, true);
  return [{ who: "Row", text: JSON.stringify(row), learnt: false }];
}

const turns = (messages: Turn[], learnt: string): Part[] =>
  messages.map(({ role, content }) => ({ who: names[role] ?? role, text: content, learnt: role === learnt }));

function texts(who: string, value: unknown, learnt: boolean): Part[] {
  if (typeof value === "string") return [{ who, text: value, learnt }];
  if (Array.isArray(value)) return (value as Turn[]).map(({ content }) => ({ who, text: content, learnt }));
  return [];
}
