import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { beforeEach, expect, test } from "vitest";
import { Members } from "./Members";
import type { Project } from "./queries";

type Role = Project["role"];
type Person = { user_id: string; email: string; name?: string; role: Role; disabled?: boolean; added_at: string };

const added_at = "2026-11-27T10:00:00Z";
const ada: Person = { user_id: "user_ada", email: "ada@example.com", name: "Ada", role: "owner", added_at };
const bob: Person = { user_id: "user_bob", email: "bob@example.com", role: "viewer", disabled: true, added_at };
const cleo = { email: "cleo@example.com", name: "Cleo" };

const project = (role: Role): Project => ({
  id: "proj_1",
  name: "Support",
  description: "",
  goal: "",
  status: "active",
  role,
  created_at: added_at,
  updated_at: added_at,
});

const members = `${origin}/api/projects/proj_1/members`;
let there: Person[];
/** What was asked to be changed. */
let wishes: unknown[];

beforeEach(() => {
  there = [ada, bob];
  wishes = [];
  signedIn(ada);
  server.use(
    http.get(members, () => HttpResponse.json({ items: there })),
    http.post(members, async ({ request }) => {
      const wish = (await request.json()) as { email: string; role: Role };
      wishes.push(wish);
      if (wish.email !== cleo.email) return refusal(404, "nobody has that e-mail", "ask an owner to invite them");
      const member = { user_id: "user_cleo", ...cleo, role: wish.role, added_at };
      there = [...there, member];
      return HttpResponse.json(member, { status: 201 });
    }),
    http.patch(`${members}/:user`, async ({ request, params }) => {
      const { role } = (await request.json()) as { role: Role };
      wishes.push({ user: params.user, role });
      const last = there.every((each) => each.user_id === params.user || each.role !== "owner");
      if (last && role !== "owner") return refusal(409, "a project needs an owner", "make somebody else its owner");
      there = there.map((each) => (each.user_id === params.user ? { ...each, role } : each));
      return HttpResponse.json(there.find(({ user_id }) => user_id === params.user));
    }),
    http.delete(`${members}/:user`, ({ params }) => {
      wishes.push({ gone: params.user });
      there = there.filter(({ user_id }) => user_id !== params.user);
      return new HttpResponse(null, { status: 204 });
    }),
  );
});

const refusal = (status: number, detail: string, remedy: string) =>
  HttpResponse.json({ status, code: "refused", title: detail, detail, remedy }, { status });

function signedIn({ user_id: id, email, name }: Person, role = "member") {
  server.use(http.get(`${origin}/api/me`, () => HttpResponse.json({ role, user: { id, email, name, role } })));
}

/** The line of a member. */
async function lineOf(text: string) {
  const list = await screen.findByRole("list", { name: "Members" });
  return within((await within(list).findByText(text)).closest("li")!);
}

test("who has a part in a project is listed, with what each may do", async () => {
  renderApp(<Members project={project("owner")} />);
  const mine = await lineOf("Ada");
  expect(await mine.findByText("(you)")).toBeTruthy();
  expect((mine.getByLabelText("What Ada may do") as HTMLSelectElement).value).toBe("owner");
  const his = await lineOf("bob@example.com");
  expect(his.getByText("disabled")).toBeTruthy();
  expect((his.getByLabelText("What bob@example.com may do") as HTMLSelectElement).value).toBe("viewer");
});

test("sharing names somebody by e-mail; who is not known is told, and what was typed stays", async () => {
  const user = userEvent.setup();
  renderApp(<Members project={project("owner")} />);
  await user.click(screen.getByRole("button", { name: "Share with somebody" }));
  const dialog = within(await screen.findByRole("dialog", { name: "Share Support" }));
  expect(dialog.getByText("Viewer: sees what is there and asks its models.")).toBeTruthy();
  await user.selectOptions(dialog.getByLabelText("Part"), "editor");
  expect(dialog.getByText("Editor: also starts and changes things.")).toBeTruthy();

  const email = dialog.getByLabelText("E-mail") as HTMLInputElement;
  await user.type(email, "dora@example.com");
  await user.click(dialog.getByRole("button", { name: "Share it" }));
  expect(await dialog.findByText("Nobody has that e-mail.")).toBeTruthy();
  expect(dialog.getByText("Ask an owner to invite them.")).toBeTruthy();
  expect(email.value).toBe("dora@example.com");

  await user.clear(email);
  await user.type(email, cleo.email);
  await user.click(dialog.getByRole("button", { name: "Share it" }));
  expect(await screen.findByText("Cleo has a part in Support")).toBeTruthy();
  expect(((await lineOf("Cleo")).getByLabelText("What Cleo may do") as HTMLSelectElement).value).toBe("editor");
  expect(wishes.at(-1)).toEqual({ email: cleo.email, role: "editor" });
});

test("a part is changed where it stands; the last owner's is not, and the reason is said", async () => {
  const user = userEvent.setup();
  renderApp(<Members project={project("owner")} />);
  const his = await lineOf("bob@example.com");
  const part = his.getByLabelText("What bob@example.com may do") as HTMLSelectElement;
  await user.selectOptions(part, "editor");
  await waitFor(() => expect(part.value).toBe("editor"));
  expect(wishes).toEqual([{ user: "user_bob", role: "editor" }]);

  const mine = (await lineOf("Ada")).getByLabelText("What Ada may do") as HTMLSelectElement;
  await user.selectOptions(mine, "viewer");
  const told = await screen.findByRole("alert");
  expect(told.textContent).toContain("A project needs an owner. Make somebody else its owner.");
  expect(mine.value).toBe("owner");
});

test("taking somebody out is asked about, with what goes with it", async () => {
  const user = userEvent.setup();
  renderApp(<Members project={project("owner")} />);
  const his = await lineOf("bob@example.com");
  await user.click(his.getByRole("button", { name: "Take out" }));
  const asked = within(await screen.findByRole("alertdialog", { name: "Take bob@example.com out of Support?" }));
  expect(asked.getByText("Keys that bob@example.com has made for the project are revoked.")).toBeTruthy();
  expect(wishes).toEqual([]);
  await user.click(asked.getByRole("button", { name: "Take out" }));
  await waitFor(() => expect(screen.queryByText("bob@example.com")).toBeNull());
  expect(wishes).toEqual([{ gone: "user_bob" }]);
});

test("who does not own the project sees the parts, changes none, and may leave", async () => {
  const user = userEvent.setup();
  signedIn(bob);
  renderApp(<Members project={project("viewer")} />);
  const mine = await lineOf("bob@example.com");
  expect(await mine.findByRole("button", { name: "Leave" })).toBeTruthy();
  expect((await lineOf("Ada")).queryByRole("button")).toBeNull();
  expect(screen.queryByRole("combobox")).toBeNull();
  expect(screen.queryByRole("button", { name: "Share with somebody" })).toBeNull();
  await user.click(mine.getByRole("button", { name: "Leave" }));
  await user.click(within(await screen.findByRole("alertdialog")).getByRole("button", { name: "Leave" }));
  await waitFor(() => expect(wishes).toEqual([{ gone: "user_bob" }]));
});

test("an owner of the installation decides about a project that is not theirs", async () => {
  signedIn({ ...ada, user_id: "user_root", name: "Root" }, "owner");
  renderApp(<Members project={project("viewer")} />);
  expect((await lineOf("Ada")).getByLabelText("What Ada may do")).toBeTruthy();
  expect(screen.getByRole("button", { name: "Share with somebody" })).toBeTruthy();
});

test("a project of nobody's says so", async () => {
  there = [];
  renderApp(<Members project={project("owner")} />);
  expect(await screen.findByText("It is shared with nobody")).toBeTruthy();
});
