import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { renderApp } from "@tests/render";
import { origin, server } from "@tests/server";
import { HttpResponse, http } from "msw";
import { expect, test, vi } from "vitest";
import { DiskCard } from "./DiskCard";
import { SettingCards } from "./SettingCards";
import { Settings } from "./Settings";

vi.mock("next/navigation", () => import("@tests/navigation"));

const person = (role: "owner" | "member") => ({ role, user: { id: "user_1", email: "ada@example.com", role } });

const gib = 2 ** 30;

const disk = (collectable: { files: number; bytes: number }) => ({
  measured_at: "2026-11-28T10:00:00Z",
  total_bytes: 6 * gib,
  volume: { total_bytes: 100 * gib, free_bytes: 40 * gib },
  kinds: [
    { kind: "caches", bytes: 4 * gib, files: 900 },
    { kind: "models", bytes: 1.5 * gib, files: 12 },
    { kind: "unused", bytes: collectable.bytes, files: collectable.files },
  ],
  collectable,
});

const refusal = (status: number, detail: string, remedy?: string) =>
  HttpResponse.json({ status, code: "unavailable", title: detail, detail, remedy }, { status });

/** What the API answers to somebody who has opened the settings. */
function settingsFor(role: "owner" | "member") {
  let tell = () => {};
  const asked = new Promise<void>((answered) => {
    tell = answered;
  });
  server.use(
    http.get(`${origin}/api/me`, async () => {
      await asked;
      return HttpResponse.json(person(role));
    }),
    http.get(`${origin}/api/settings`, () => HttpResponse.json({ items: [] })),
    http.get(`${origin}/api/users`, () => HttpResponse.json({ items: [] })),
    http.get(`${origin}/api/audit`, () =>
      HttpResponse.json({
        items: [
          {
            id: "audit_1",
            at: "2026-11-28T10:00:00Z",
            actor: { kind: "user", id: "user_1", name: "Ada" },
            action: "startTraining",
            text: "started a training",
            resource: "job_1",
            resource_name: "support",
            status: 201,
            address: "127.0.0.1",
          },
          {
            id: "audit_2",
            at: "2026-11-28T09:00:00Z",
            actor: { kind: "nobody" },
            action: "login",
            text: "tried to sign in",
            resource: "ada@example.com",
            status: 429,
            code: "rate_limited",
            address: "10.0.0.7",
          },
        ],
      }),
    ),
  );
  return tell;
}

test("the view that the address names is open from the start, before it is known who asks", async () => {
  const tell = settingsFor("owner");
  history.replaceState(null, "", "/settings?tab=audit");
  renderApp(<Settings />);
  expect(screen.getByRole("tab", { name: "Audit log" }).getAttribute("aria-selected")).toBe("true");
  expect(screen.getByRole("status", { name: "Loading" })).toBeTruthy();
  tell();
  const entries = within(await screen.findByRole("list", { name: "Audit log" }));
  const [done, refused] = entries.getAllByRole("listitem");
  expect(done!.textContent).toContain("Ada started a training “support”");
  expect(within(done!).getByTitle("startTraining")).toBeTruthy();
  expect(refused!.textContent).toContain("Somebody tried to sign in ada@example.com");
  expect(within(refused!).getByText("rate limited")).toBeTruthy();
  const action = screen.getByRole<HTMLSelectElement>("combobox", { name: "Action" });
  expect([...action.options].find(({ value }) => value === "updateMember")?.text).toBe("Change a member's role");
  expect(location.search).toBe("?tab=audit");
});

test("who owns nothing here is not shown what owners see", async () => {
  settingsFor("member")();
  history.replaceState(null, "", "/settings?tab=audit");
  renderApp(<Settings />);
  await waitFor(() => expect(screen.queryByRole("tab", { name: "Audit log" })).toBeNull());
  expect(screen.getByRole("tab", { name: "General" }).getAttribute("aria-selected")).toBe("true");
});

/** The server's answers about its disk; collecting takes what nothing needs. */
function diskOf(collectable: { files: number; bytes: number }) {
  let left = collectable;
  server.use(
    http.get(`${origin}/api/system/disk`, () => HttpResponse.json(disk(left))),
    http.post(`${origin}/api/system/gc`, () => {
      const gone = left;
      left = { files: 0, bytes: 0 };
      return HttpResponse.json(gone);
    }),
  );
}

test("what takes room is told by kind, and what nothing needs goes when it is said so", async () => {
  const user = userEvent.setup();
  diskOf({ files: 3, bytes: gib / 2 });
  renderApp(<DiskCard />);
  expect(await screen.findByText("6.0 GiB")).toBeTruthy();
  expect(screen.getByText(/40.0 GiB of 100 GiB are free/)).toBeTruthy();
  const parts = within(screen.getByRole("figure", { name: "Disk use by kind" })).getAllByRole("listitem");
  expect(parts.map(({ textContent }) => textContent)).toEqual([
    "Base models and the Python environment4.0 GiB",
    "Your models1.5 GiB",
    "Nothing needs512 MiB",
  ]);

  await user.click(screen.getByRole("button", { name: "Free 512 MiB" }));
  const asked = within(await screen.findByRole("alertdialog", { name: "Delete 3 stored files?" }));
  await user.click(asked.getByRole("button", { name: "Keep them" }));
  await waitFor(() => expect(screen.queryByRole("alertdialog")).toBeNull());
  expect(screen.getByRole("button", { name: "Free 512 MiB" })).toBeTruthy();

  await user.click(screen.getByRole("button", { name: "Free 512 MiB" }));
  await user.click(await screen.findByRole("button", { name: "Delete them" }));
  expect(await screen.findByText("512 MiB are free again")).toBeTruthy();
  await waitFor(() => expect(screen.queryByRole("button", { name: /^Free/ })).toBeNull());
});

test("nothing to free offers nothing", async () => {
  diskOf({ files: 0, bytes: 0 });
  renderApp(<DiskCard />);
  expect(await screen.findByText("6.0 GiB")).toBeTruthy();
  expect(screen.queryByRole("button", { name: /^Free/ })).toBeNull();
});

test("a disk that cannot be measured says so, and is asked again", async () => {
  const user = userEvent.setup();
  server.use(http.get(`${origin}/api/system/disk`, () => refusal(503, "the disk cannot be read", "look at the log")));
  renderApp(<DiskCard />);
  const told = within(await screen.findByRole("alert"));
  expect(told.getByText("The disk cannot be read.")).toBeTruthy();
  expect(told.getByText("Look at the log.")).toBeTruthy();
  diskOf({ files: 0, bytes: 0 });
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("6.0 GiB")).toBeTruthy();
});

test("what could not be deleted is said, and stays", async () => {
  const user = userEvent.setup();
  diskOf({ files: 1, bytes: 1_000 });
  server.use(http.post(`${origin}/api/system/gc`, () => refusal(500, "the disk is read-only")));
  renderApp(<DiskCard />);
  await user.click(await screen.findByRole("button", { name: /^Free/ }));
  await user.click(await screen.findByRole("button", { name: "Delete them" }));
  const told = await screen.findByRole("alert");
  expect(told.textContent).toBe("Nothing was deletedThe disk is read-only.");
  expect(screen.getByRole("alertdialog")).toBeTruthy();
});

test("a secret is forgotten only after one has said so: nothing brings it back", async () => {
  const user = userEvent.setup();
  let forgotten = 0;
  const set = { name: "huggingface_token", level: "user", description: "A token of the Hub.", secret: true };
  server.use(
    http.get(`${origin}/api/settings`, () => HttpResponse.json({ items: [{ ...set, set: forgotten === 0 }] })),
    http.delete(`${origin}/api/settings/huggingface_token`, () => {
      forgotten++;
      return new HttpResponse(null, { status: 204 });
    }),
  );
  renderApp(<SettingCards />);
  await user.click(await screen.findByRole("button", { name: "Forget" }));
  const asked = within(await screen.findByRole("alertdialog", { name: "Forget the Hugging Face token?" }));
  expect(forgotten).toBe(0);
  await user.click(asked.getByRole("button", { name: "Forget it" }));
  await waitFor(() => expect(screen.queryByRole("button", { name: "Forget" })).toBeNull());
  expect(forgotten).toBe(1);
});
