import { ago, moment } from "@/lib/format";

/** A time as one says it, with the exact one for those who point at it. */
export function When({ at }: { at: string | undefined | null }) {
  if (!at) return ago(at);
  return (
    <time dateTime={at} title={moment(at)}>
      {ago(at)}
    </time>
  );
}
