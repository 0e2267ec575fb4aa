import { createParser } from "eventsource-parser";
import { Problem } from "@/lib/api/problem";
import { sessionFetch } from "@/lib/api/session";

export type Turn = { role: "system" | "user" | "assistant"; content: string };
export type ChatRequest = { model: string; messages: Turn[]; temperature: number; max_tokens: number };
export type ChatEnd = { finish: string; tokens?: number };

/** Asks a deployed model, and hands on the answer as it is written. */
export async function streamChat(
  request: ChatRequest,
  onText: (text: string) => void,
  signal: AbortSignal,
): Promise<ChatEnd> {
  const response = await sessionFetch("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    body: JSON.stringify({ ...request, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!response.ok) throw await Problem.of(response);
  const end: ChatEnd = { finish: "" };
  let done = false;
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === "[DONE]") {
        done = true;
        return;
      }
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Problem({ status: 502, code: "engine", detail: chunk.error.message });
      const choice = chunk.choices?.[0];
      if (choice?.delta?.content) onText(choice.delta.content);
      if (choice?.finish_reason) end.finish = choice.finish_reason;
      if (chunk.usage) end.tokens = chunk.usage.completion_tokens;
    },
  });
  for await (const text of response.body!.pipeThrough(new TextDecoderStream()) as unknown as AsyncIterable<string>)
    parser.feed(text);
  if (!done) throw new Problem({ status: 0, code: "cut_off", detail: "The answer was cut off.", remedy: "Ask again." });
  return end;
}

type Chunk = {
  choices?: { delta?: { content?: string }; finish_reason?: string | null }[];
  usage?: { completion_tokens: number } | null;
  error?: { message: string };
};
