import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test, vi } from "vitest";
import { UploadModel } from "./UploadModel";

beforeEach(() => server.use(http.get(`${origin}/api/me`, () => HttpResponse.json({ role: "owner" }))));

const input = () => screen.getByLabelText("Choose the model's files, or drop its folder here");

test("a model's files are sent under a name, and a refusal says what to mend", async () => {
  const user = userEvent.setup();
  const done = vi.fn();
  const taken: FormData[] = [];
  const keys: (string | null)[] = [];
  server.use(
    http.post(`${origin}/api/models/upload`, async ({ request }) => {
      taken.push(await request.formData());
      keys.push(request.headers.get("Idempotency-Key"));
      return taken.length === 1
        ? HttpResponse.json({ code: "invalid", detail: "there is no config.json", field: "file" }, { status: 400 })
        : HttpResponse.json({ id: "model_1", name: "Ours" }, { status: 201 });
    }),
  );
  renderApp(<UploadModel onDone={done} />);
  await user.upload(input(), [new File(["{}"], "config.json"), new File(["xx"], "model.safetensors")]);
  expect(screen.getByRole("list", { name: "Files" }).textContent).toContain("model.safetensors");
  await user.type(screen.getByLabelText("Name"), "Ours");
  await user.click(screen.getByRole("button", { name: "Upload 4 B" }));
  await screen.findByText("There is no config.json.");
  expect(screen.getByLabelText<HTMLInputElement>("Name").value).toBe("Ours");

  await user.click(screen.getByRole("button", { name: "Upload 4 B" }));
  await waitFor(() => expect(done).toHaveBeenCalledWith({ id: "model_1", name: "Ours" }));
  expect(taken[1]!.get("name")).toBe("Ours");
  expect(taken[1]!.getAll("file").length).toBe(2);
  // The same files under the same name are the same wish, whatever became of the first try.
  expect(keys[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(keys[1]).toBe(keys[0]);
});

test("an archive gives the model its name", async () => {
  const user = userEvent.setup();
  renderApp(<UploadModel onDone={vi.fn()} />);
  await user.upload(input(), new File(["xx"], "our-llama.tar.gz"));
  expect(screen.getByLabelText<HTMLInputElement>("Name").value).toBe("our-llama");
});
