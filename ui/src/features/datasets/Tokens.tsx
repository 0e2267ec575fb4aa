"use client";

import { ChevronLeft, ChevronRight } from "lucide-react";
import { useState } from "react";
import { Button } from "@/components/Button";
import { Card } from "@/components/Card";
import { cx } from "@/components/cx";
import { Checkbox } from "@/components/Field";
import { ErrorNotice } from "@/components/Notice";
import { Skeleton } from "@/components/Skeleton";
import { BaseModelSelect } from "@/features/models/BaseModelSelect";
import { $api, type Schemas } from "@/lib/api/client";
import { keepPage } from "@/lib/api/lists";
import { count, plural } from "@/lib/format";

type TokenRow = Schemas["TokenRow"];

const rowsAPage = 5;

/** Rows as the model reads them, token by token, and which of them it learns. */
export default function Tokens({ id, split }: { id: string; split: "train" | "eval" }) {
  const [modelId, setModelId] = useState("");
  const [all, setAll] = useState(false);
  const [offset, setOffset] = useState(0);
  const query = $api.useQuery(
    "get",
    "/api/datasets/{id}/tokens",
    {
      params: {
        path: { id },
        query: { split, offset, limit: rowsAPage, learn_all: all, model_id: modelId || undefined },
      },
    },
    { staleTime: 600_000, refetchOnWindowFocus: false, ...keepPage },
  );
  return (
    <div className="grid gap-4">
      <Card>
        <div className="grid items-start gap-5 sm:grid-cols-2">
          <BaseModelSelect value={modelId} onChange={setModelId} />
          <Checkbox
            className="sm:mt-7"
            label="Learn everything"
            hint="As with “Learn answers only” off."
            checked={all}
            onChange={(event) => setAll(event.target.checked)}
          />
        </div>
      </Card>
      {query.data ? (
        <div className={cx("grid gap-4 transition-opacity", query.isPlaceholderData && "opacity-55")}>
          {query.data.rows.length === 0 && <p className="text-ink-3">There are no rows in this part.</p>}
          {query.data.rows.map((row) => (
            <Row key={row.row} row={row} />
          ))}
          <Pager offset={offset} next={query.data.next_offset} onTurn={setOffset} />
        </div>
      ) : query.error ? (
        <ErrorNotice error={query.error} onRetry={() => query.refetch()} />
      ) : (
        <div role="status" aria-label="Loading" className="grid gap-2">
          <Skeleton className="h-64" />
          <p className="text-ink-3 text-sm">
            A worker reads them with the model's tokenizer; the first time takes longer.
          </p>
        </div>
      )}
    </div>
  );
}

function Row({ row }: { row: TokenRow }) {
  const learnt = row.tokens.filter(({ trained }) => trained).length;
  const rest = row.length - row.tokens.length;
  return (
    <article aria-label={`Row ${row.row + 1}`} className="rounded-lg border border-line bg-surface p-4 shadow-card">
      <p className="tabular mb-2 text-ink-3 text-xs">
        Row {count(row.row + 1)} · {plural(row.length, "token")}, {count(learnt)} learnt
      </p>
      <p className="whitespace-pre-wrap break-words font-mono text-sm leading-7 [overflow-wrap:anywhere]">
        {row.tokens.map((token, i) => (
          <span
            key={i}
            title={`${token.id}${token.trained ? ", learnt" : ", read only"}`}
            className={cx(
              "border-line-strong/40 border-r",
              token.trained ? "bg-accent-soft text-accent-ink underline decoration-accent-ink/40" : "text-ink-2",
            )}
          >
            {token.text.replaceAll("\n", "↵\n")}
          </span>
        ))}
        {rest > 0 && <span className="text-ink-3"> … {plural(rest, "more token")}</span>}
      </p>
    </article>
  );
}

type PagerProps = { offset: number; next: number | undefined; onTurn: (offset: number) => void };

function Pager({ offset, next, onTurn }: PagerProps) {
  if (offset === 0 && next === undefined) return null;
  return (
    <nav aria-label="Pages of rows" className="flex justify-between gap-2">
      <Button
        size="sm"
        icon={<ChevronLeft aria-hidden className="size-4" />}
        disabled={offset === 0}
        onClick={() => onTurn(Math.max(0, offset - rowsAPage))}
      >
        Previous
      </Button>
      <Button size="sm" disabled={next === undefined} onClick={() => onTurn(next!)}>
        Next
        <ChevronRight aria-hidden className="size-4" />
      </Button>
    </nav>
  );
}
