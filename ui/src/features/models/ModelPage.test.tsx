import { screen } from "@testing-library/react";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { ModelPage } from "./ModelPage";

vi.mock("next/navigation", () => import("@tests/navigation"));

const model = { id: "model_1", name: "Support", kind: "tuned", base_model_id: "tiny", method: "lora", size: 9 };

function answers(lists: { evaluations: () => Response }) {
  const exportsAsked: URLSearchParams[] = [];
  server.use(
    http.get(`${origin}/api/models/model_1`, () => HttpResponse.json(model)),
    http.get(`${origin}/api/evaluation`, lists.evaluations),
    http.get(`${origin}/api/deployments`, () => HttpResponse.json({ items: [] })),
    http.get(`${origin}/api/exports`, ({ request }) => {
      exportsAsked.push(new URL(request.url).searchParams);
      return HttpResponse.json({ items: [] });
    }),
  );
  return exportsAsked;
}

test("what could not be asked for is not said to be nothing", async () => {
  answers({ evaluations: () => HttpResponse.json({ code: "forbidden", detail: "not yours" }, { status: 403 }) });
  renderApp(<ModelPage id="model_1" />);
  expect(await screen.findByText("Not yours.")).toBeTruthy();
  expect(screen.queryByText(/has not been compared/)).toBeNull();
  expect(await screen.findByText("It is not served.")).toBeTruthy();
});

test("a model's exports are found among however many others", async () => {
  const asked = answers({ evaluations: () => HttpResponse.json({ items: [] }) });
  renderApp(<ModelPage id="model_1" />);
  expect(await screen.findByText("Nothing has been exported yet.")).toBeTruthy();
  expect(asked[0]!.get("model_id")).toBe("model_1");
});
