"use client";

import {
  Boxes,
  ChartNoAxesColumn,
  Database,
  Download,
  FolderKanban,
  History,
  KeyRound,
  type LucideIcon,
  MessagesSquare,
  Scale,
  UserRound,
  Workflow,
} from "lucide-react";
import Link from "next/link";
import { Empty } from "@/components/Empty";
import { Listing } from "@/components/Listing";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, pageSize } from "@/lib/api/lists";
import { moment } from "@/lib/format";
import { useListing } from "@/lib/listing";

type Entry = Schemas["Activity"];

const kinds: Record<Entry["kind"], { icon: LucideIcon; page?: string }> = {
  dataset: { icon: Database, page: "/dataset" },
  model: { icon: Boxes, page: "/model" },
  job: { icon: ChartNoAxesColumn, page: "/job" },
  evaluation: { icon: Scale, page: "/evaluation" },
  deployment: { icon: MessagesSquare, page: "/deployment" },
  export: { icon: Download },
  pipeline: { icon: Workflow, page: "/pipeline" },
  project: { icon: FolderKanban },
  key: { icon: KeyRound, page: "/key" },
  member: { icon: UserRound },
};

/** Who did what in a project, newest first. */
export function Activity({ id }: { id: string }) {
  const list = useListing();
  const activity = $api.useQuery(
    "get",
    "/api/projects/{id}/activity",
    { params: { path: { id }, query: { limit: pageSize, cursor: list.cursor } } },
    { refetchInterval: 20_000, ...keepPage },
  );
  return (
    <Listing
      list={list}
      query={activity}
      empty={
        <Empty icon={History} title="Nothing has happened yet">
          What is begun, changed, ended and deleted here is told here, and by whom.
        </Empty>
      }
    >
      {(items) =>
        byDay(items).map(([day, entries]) => (
          <section key={day} aria-label={day}>
            <h2 className="bg-sunken/60 px-4 py-1.5 font-medium text-ink-3 text-xs sm:px-5">{day}</h2>
            <ul className="divide-y divide-line">
              {entries.map((entry) => (
                <Item key={entry.id} entry={entry} />
              ))}
            </ul>
          </section>
        ))
      }
    </Listing>
  );
}

function Item({ entry }: { entry: Entry }) {
  const { icon: Icon, page } = kinds[entry.kind];
  const gone = entry.action.startsWith("delete");
  return (
    <li className="flex items-baseline gap-3 px-4 py-2.5 text-sm sm:px-5">
      <Icon aria-hidden className="size-4 shrink-0 self-center text-ink-3" />
      <div className="min-w-0 flex-1 break-words">
        {page && !gone ? (
          <Link
            href={`${page}?id=${encodeURIComponent(entry.resource_id)}`}
            prefetch={false}
            className="hover:text-accent-ink hover:underline"
          >
            {entry.text}
          </Link>
        ) : (
          entry.text
        )}
        {entry.detail && <p className="text-bad">{entry.detail}</p>}
      </div>
      <time dateTime={entry.at} title={moment(entry.at)} className="tabular shrink-0 text-ink-3">
        {clock.format(new Date(entry.at))}
      </time>
    </li>
  );
}

const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const date = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long", year: "numeric" });

/** Entries under the day on which they happened, as they come. */
function byDay(entries: Entry[]): [string, Entry[]][] {
  const days = new Map<string, Entry[]>();
  for (const entry of entries) {
    const day = date.format(new Date(entry.at));
    days.set(day, [...(days.get(day) ?? []), entry]);
  }
  return [...days];
}
