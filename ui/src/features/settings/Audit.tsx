"use client";

import { ScrollText } from "lucide-react";
import { useState } from "react";
import { Badge } from "@/components/Badge";
import { Empty } from "@/components/Empty";
import { Filter, Listing } from "@/components/Listing";
import { nameOf } from "@/features/account/queries";
import { actions } from "@/lib/api/actions.gen";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage, many, pageSize } from "@/lib/api/lists";
import { moment } from "@/lib/format";
import { type Listing as ListingState, useListing } from "@/lib/listing";

const outcomes = ["done", "refused"] as const;

const periods = { "1": "The last day", "7": "The last week", "30": "The last month" };
type Days = keyof typeof periods;
const dayMillis = 86_400_000;

const capital = (words: string) => words.charAt(0).toUpperCase() + words.slice(1);
const choices = actions.map(([action, words]) => [action, capital(words)] as const);

/** Who did what, newest first; for owners. */
export function Audit() {
  const list = useListing("outcome", "actor", "action", "days");
  const [opened] = useState(Date.now);
  const days = Number(list.oneOf("days", Object.keys(periods) as Days[]) ?? 0);
  const log = $api.useQuery(
    "get",
    "/api/audit",
    {
      params: {
        query: {
          limit: pageSize,
          cursor: list.cursor,
          outcome: list.oneOf("outcome", outcomes),
          actor_id: list.get("actor"),
          action: list.get("action"),
          since: days > 0 ? new Date(opened - days * dayMillis).toISOString() : undefined,
        },
      },
    },
    keepPage,
  );
  return (
    <Listing
      title="Audit log"
      note="What was changed or refused, by whom."
      list={list}
      query={log}
      filters={
        <>
          <Filter
            list={list}
            name="outcome"
            label="Outcome"
            any="Any outcome"
            options={[
              ["done", "Done"],
              ["refused", "Refused"],
            ]}
          />
          <Filter list={list} name="action" label="Action" any="Any action" options={choices} />
          <ActorFilter list={list} />
          <Filter list={list} name="days" label="Time" any="At any time" options={Object.entries(periods)} />
        </>
      }
      empty={<Empty icon={ScrollText} title="Nothing yet" />}
    >
      {(items) => (
        <ul aria-label="Audit log" className="divide-y divide-line">
          {items.map((event) => (
            <AuditItem key={event.id} event={event} />
          ))}
        </ul>
      )}
    </Listing>
  );
}

function ActorFilter({ list }: { list: ListingState }) {
  const users = $api.useQuery("get", "/api/users", { params: { query: { limit: many } } });
  const options = (users.data?.items ?? []).map((user) => [user.id, nameOf(user)] as const);
  return <Filter list={list} name="actor" label="By whom" any="By anybody" options={options} />;
}

function AuditItem({ event }: { event: Schemas["AuditEvent"] }) {
  const about = event.resource_name || event.resource;
  return (
    <li className="flex flex-wrap items-center gap-x-4 gap-y-0.5 px-4 py-2.5 text-sm sm:px-5">
      <span className="tabular w-40 text-ink-3">{moment(event.at)}</span>
      <span className="min-w-0 flex-1 basis-56 [overflow-wrap:anywhere]">
        <span className="font-medium">{who(event.actor)}</span>{" "}
        <span title={event.action} className="text-ink-2">
          {event.text}
        </span>
        {about && (
          <span title={event.resource} className={event.resource_name ? "" : "font-mono text-ink-3 text-xs"}>
            {event.resource_name ? ` “${about}”` : ` ${about}`}
          </span>
        )}
      </span>
      <span className="text-ink-3">{event.address}</span>
      {event.status >= 400 && (
        <span title={`${event.status} ${event.code ?? ""}`.trim()}>
          <Badge tone="bad">{event.code?.replaceAll("_", " ") || event.status}</Badge>
        </span>
      )}
    </li>
  );
}

/** Who asked, as one says it. */
function who({ kind, name }: Schemas["AuditActor"]): string {
  if (kind === "nobody") return "Somebody";
  if (kind === "api_key") return `The key “${name}”`;
  return name || "This machine's owner";
}
