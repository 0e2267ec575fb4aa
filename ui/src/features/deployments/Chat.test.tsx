import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { useState } from "react";
import { beforeEach, expect, test, vi } from "vitest";
import { Chat, type Side } from "./Chat";
import type { ChatRequest } from "./chat";

const asked: ChatRequest[] = [];
vi.mock("./chat", () => ({
  streamChat: async (request: ChatRequest, onText: (text: string) => void) => {
    asked.push(request);
    onText(`${request.model} says ${asked.length}`);
    return { finish: "stop", tokens: 1 };
  },
}));

const tuned: Side = { model: "tuned", label: "Tuned" };
const base: Side = { model: "base", label: "Base" };

/** A chat beside which the base begins to answer. */
function Playground() {
  const [sides, setSides] = useState([tuned]);
  return (
    <>
      <button type="button" onClick={() => setSides([base, tuned])}>
        The base is there
      </button>
      <Chat sides={sides} />
    </>
  );
}

beforeEach(() => {
  asked.length = 0;
  Element.prototype.scrollIntoView = () => {};
});

test("what was said and is being typed stays when another side comes in", async () => {
  const user = userEvent.setup();
  renderApp(<Playground />);
  const question = screen.getByLabelText("Your question");
  await user.type(question, "What is E2?{Enter}");
  expect(await screen.findByText("tuned says 1")).toBeTruthy();
  expect(screen.getByText(/^1 token /)).toBeTruthy();
  await user.type(question, "And E3?");
  await user.click(screen.getByRole("button", { name: "The base is there" }));
  expect(screen.getByText("tuned says 1")).toBeTruthy();
  expect(screen.getByRole("region", { name: "Tuned" })).toBeTruthy();

  await user.type(question, "{Enter}");
  expect(await screen.findByText("base says 2")).toBeTruthy();
  const told = Object.fromEntries(asked.slice(1).map(({ model, messages }) => [model, messages.map((m) => m.content)]));
  expect(told).toEqual({ base: ["And E3?"], tuned: ["What is E2?", "tuned says 1", "And E3?"] });
});
