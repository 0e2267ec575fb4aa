"use client";

import { CornerDownLeft, Eraser, Square } from "lucide-react";
import { type FormEvent, type KeyboardEvent, useEffect, useRef, useState } from "react";
import { Button } from "@/components/Button";
import { cx } from "@/components/cx";
import { Field, Input, Textarea } from "@/components/Field";
import { asProblem } from "@/lib/api/problem";
import { duration, plural } from "@/lib/format";
import { streamChat, type Turn } from "./chat";

type Answer = { text: string; state: "writing" | "done" | "stopped" | "failed"; note?: string };
export type Side = { model: string; label: string };
/** A question and what each of those who were asked then has answered. */
type Exchange = { question: string; sides: Side[]; answers: Answer[] };

const defaults = { temperature: 0.7, max_tokens: 256 };

/**
 * Asks the sides the same questions, each with its own conversation, and shows the answers beside each other. A side that
 * comes or goes in the middle leaves what was said before as it is.
 */
export function Chat({ sides }: { sides: Side[] }) {
  const [exchanges, setExchanges] = useState<Exchange[]>([]);
  const [settings, setSettings] = useState({ ...defaults, system: "" });
  const [question, setQuestion] = useState("");
  const asking = useRef<AbortController>(undefined);
  const end = useRef<HTMLDivElement>(null);
  const busy = exchanges.at(-1)?.answers.some(({ state }) => state === "writing") ?? false;
  useEffect(() => () => asking.current?.abort(), []);

  const change = (at: number, side: number, how: (old: Answer) => Answer) =>
    setExchanges((all) =>
      all.map((x, i) => (i === at ? { ...x, answers: x.answers.map((a, j) => (j === side ? how(a) : a)) } : x)),
    );

  const answer = async (at: number, side: number, text: string, signal: AbortSignal) => {
    const messages = conversation(exchanges, sides[side]!.model, settings.system, text);
    const began = performance.now();
    try {
      const { temperature, max_tokens } = settings;
      const { finish, tokens } = await streamChat(
        { model: sides[side]!.model, messages, temperature, max_tokens },
        (more) => change(at, side, (old) => ({ ...old, text: old.text + more })),
        signal,
      );
      const note = [
        tokens && plural(tokens, "token"),
        duration((performance.now() - began) / 1000),
        finish === "length" && "cut at the longest answer",
      ];
      change(at, side, (old) => ({ ...old, state: "done", note: note.filter(Boolean).join(" · ") }));
    } catch (error) {
      if (signal.aborted) return change(at, side, (old) => ({ ...old, state: "stopped", note: "stopped" }));
      const problem = asProblem(error);
      change(at, side, (old) => ({
        ...old,
        state: "failed",
        note: [problem.message, problem.remedy].filter(Boolean).join(" "),
      }));
    }
  };

  const ask = () => {
    const text = question.trim();
    if (!text || busy) return;
    const controller = new AbortController();
    asking.current = controller;
    const at = exchanges.length;
    setExchanges([...exchanges, { question: text, sides, answers: sides.map(() => ({ text: "", state: "writing" })) }]);
    setQuestion("");
    sides.forEach((_, side) => void answer(at, side, text, controller.signal));
    requestAnimationFrame(() => end.current?.scrollIntoView({ block: "nearest" }));
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      ask();
    }
  };
  return (
    <div className="grid gap-4">
      <ol aria-label="Conversation" className="grid gap-6">
        {exchanges.map((exchange, i) => (
          <li key={i} className="grid gap-3">
            <p className="ml-auto max-w-[85%] whitespace-pre-wrap rounded-lg bg-accent-soft px-4 py-2.5 [overflow-wrap:anywhere]">
              {exchange.question}
            </p>
            <div className={cx("grid gap-3", exchange.sides.length > 1 && "md:grid-cols-2")}>
              {exchange.answers.map((a, side) => (
                <AnswerBox key={exchange.sides[side]!.model} answer={a} label={exchange.sides[side]!.label} />
              ))}
            </div>
          </li>
        ))}
      </ol>
      <div ref={end} />
      <form
        onSubmit={(event: FormEvent) => {
          event.preventDefault();
          ask();
        }}
        className="rounded-lg border border-line-strong bg-surface focus-within:border-accent-ink"
      >
        <textarea
          aria-label="Your question"
          value={question}
          onChange={(event) => setQuestion(event.target.value)}
          onKeyDown={onKey}
          rows={2}
          placeholder={exchanges.length === 0 ? "Ask something that your data is about" : "Go on"}
          className="block w-full resize-none rounded-lg bg-transparent px-3 pt-2.5 pb-1 text-ink outline-none placeholder:text-ink-3"
        />
        <div className="flex items-center justify-end gap-2 px-2 pb-2">
          {exchanges.length > 0 && !busy && (
            <Button
              size="sm"
              variant="quiet"
              icon={<Eraser aria-hidden className="size-4" />}
              onClick={() => setExchanges([])}
            >
              Begin anew
            </Button>
          )}
          {busy ? (
            <Button
              size="sm"
              icon={<Square aria-hidden className="size-3.5" />}
              onClick={() => asking.current?.abort()}
            >
              Stop
            </Button>
          ) : (
            <Button
              type="submit"
              size="sm"
              variant="primary"
              disabled={!question.trim()}
              icon={<CornerDownLeft aria-hidden className="size-4" />}
            >
              Ask
            </Button>
          )}
        </div>
      </form>
      <details>
        <summary className="text-ink-2 text-sm">How they answer</summary>
        <div className="mt-3 grid gap-4 sm:grid-cols-2">
          <Field label="Temperature" hint="0 is always the same answer; higher is freer.">
            <Input
              type="number"
              min={0}
              max={2}
              step={0.1}
              value={settings.temperature}
              onChange={(event) => setSettings({ ...settings, temperature: event.target.valueAsNumber || 0 })}
            />
          </Field>
          <Field label="Longest answer" hint="In tokens.">
            <Input
              type="number"
              min={1}
              max={4096}
              value={settings.max_tokens}
              onChange={(event) =>
                setSettings({ ...settings, max_tokens: event.target.valueAsNumber || defaults.max_tokens })
              }
            />
          </Field>
          <Field label="System prompt" aside="optional" className="sm:col-span-2">
            <Textarea
              value={settings.system}
              onChange={(event) => setSettings({ ...settings, system: event.target.value })}
              rows={2}
            />
          </Field>
        </div>
      </details>
    </div>
  );
}

function AnswerBox({ answer, label }: { answer: Answer; label: string }) {
  return (
    <section
      aria-label={label}
      aria-busy={answer.state === "writing"}
      className="min-w-0 rounded-lg border border-line bg-surface px-4 py-3"
    >
      <p className="mb-1 font-medium text-ink-3 text-xs">{label}</p>
      {/* Announced when it is whole; word by word would be noise. */}
      <p
        aria-live={answer.state === "writing" ? "off" : "polite"}
        className="min-h-6 whitespace-pre-wrap [overflow-wrap:anywhere]"
      >
        {answer.text}
        {answer.state === "writing" && (
          <span
            aria-hidden
            className="ml-0.5 inline-block h-4 w-1.5 translate-y-0.5 bg-ink-3 motion-safe:animate-pulse-slow"
          />
        )}
      </p>
      {answer.note && (
        <p className={cx("tabular mt-2 text-xs", answer.state === "failed" ? "text-bad" : "text-ink-3")}>
          {answer.note}
        </p>
      )}
    </section>
  );
}

function conversation(exchanges: Exchange[], model: string, system: string, question: string): Turn[] {
  const before = exchanges.flatMap(({ question: asked, sides, answers }): Turn[] => {
    const text = answers[sides.findIndex((side) => side.model === model)]?.text;
    return text
      ? [
          { role: "user", content: asked },
          { role: "assistant", content: text },
        ]
      : [];
  });
  return [
    ...(system.trim() ? [{ role: "system" as const, content: system.trim() }] : []),
    ...before,
    { role: "user", content: question },
  ];
}
