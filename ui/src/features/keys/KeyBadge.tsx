import { Badge } from "@/components/Badge";
import { moment } from "@/lib/format";
import type { Key } from "./queries";

export const isExpired = ({ expires_at }: Key) => Boolean(expires_at && new Date(expires_at).getTime() < Date.now());

/** What there is to know about whether a key opens anything; nothing if it does so for good. */
export function KeyBadge({ item }: { item: Key }) {
  if (item.revoked_at) return <Badge>revoked</Badge>;
  if (isExpired(item)) return <Badge tone="warn">expired</Badge>;
  return item.expires_at ? <Badge>until {moment(item.expires_at)}</Badge> : null;
}
