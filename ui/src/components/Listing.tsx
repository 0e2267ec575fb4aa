"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import { ChevronLeft, ChevronRight, Search, SearchX } from "lucide-react";
import { type ComponentProps, type ReactNode, useEffect, useRef } from "react";
import { plural } from "@/lib/format";
import { type Listing as ListingState, type Order, orderLabel } from "@/lib/listing";
import { Button } from "./Button";
import { Card } from "./Card";
import { cx } from "./cx";
import { Empty } from "./Empty";
import { Input, Select } from "./Field";
import { ErrorNotice } from "./Notice";
import { SkeletonRows } from "./Skeleton";

type Page<T> = { items: T[]; next_cursor?: string };

type ListingProps<T> = Pick<ComponentProps<typeof Card>, "title" | "note" | "actions"> & {
  list: ListingState;
  query: UseQueryResult<Page<T>, unknown>;
  /** What the search box says; without it there is none. */
  search?: string;
  filters?: ReactNode;
  orders?: readonly Order[];
  /** Instead of a list that has nothing at all. */
  empty: ReactNode;
  children: (items: T[]) => ReactNode;
};

/** A list with its search, filters, order and pages: loading, error, nothing at all, nothing that matches, or its rows. */
export function Listing<T>({ list, query, search, filters, orders, empty, children, ...card }: ListingProps<T>) {
  const { data, error, isPlaceholderData } = query;
  const bare = data?.items.length === 0 && !list.narrowed;
  return (
    <Card flush {...card}>
      {!bare && (search || filters || orders) && (
        <form
          role="search"
          onSubmit={(event) => event.preventDefault()}
          className="grid grid-cols-2 gap-2 px-4 pt-1 pb-3 sm:flex sm:flex-wrap sm:px-5"
        >
          {search && <SearchBox list={list} label={search} />}
          {filters}
          {orders && <OrderSelect list={list} orders={orders} />}
        </form>
      )}
      {!data && error ? (
        <div className="px-4 pb-4 sm:px-5">
          <ErrorNotice error={error} onRetry={() => query.refetch()} />
          {list.narrowed && (
            <Button size="sm" className="mt-3" onClick={list.clear}>
              Clear search and filters
            </Button>
          )}
        </div>
      ) : !data ? (
        <SkeletonRows />
      ) : bare ? (
        empty
      ) : data.items.length === 0 ? (
        <NothingMatches list={list} />
      ) : (
        <div
          aria-busy={isPlaceholderData}
          className={cx("border-line border-t transition-opacity", isPlaceholderData && "opacity-55")}
        >
          {children(data.items)}
        </div>
      )}
      <p role="status" className="sr-only">
        {data && !isPlaceholderData && list.narrowed ? `${plural(data.items.length, "entry", "entries")} found` : ""}
      </p>
      <Pages list={list} next={data?.next_cursor} />
    </Card>
  );
}

const typingPause = 250;

function SearchBox({ list, label }: { list: ListingState; label: string }) {
  const said = list.q ?? "";
  const box = useRef<HTMLInputElement>(null);
  const typing = useRef<ReturnType<typeof setTimeout>>(undefined);
  // The address changes by other means too: cleared, or gone back. What somebody types meanwhile stays.
  useEffect(() => {
    if (!typing.current && box.current!.value.trim() !== said) box.current!.value = said;
  }, [said]);
  useEffect(() => () => clearTimeout(typing.current), []);
  const search = () => {
    clearTimeout(typing.current);
    typing.current = setTimeout(() => {
      typing.current = undefined;
      list.set({ q: box.current!.value.trim() });
    }, typingPause);
  };
  return (
    <div className="relative col-span-2 min-w-0 sm:flex-1 sm:basis-40">
      <Search aria-hidden className="pointer-events-none absolute top-2.5 left-3 size-4 text-ink-3" />
      <Input
        ref={box}
        type="search"
        aria-label={label}
        placeholder={label}
        defaultValue={said}
        maxLength={200}
        autoComplete="off"
        spellCheck={false}
        className="pl-9"
        onChange={search}
      />
    </div>
  );
}

type FilterProps = {
  list: ListingState;
  name: string;
  label: string;
  /** Says that it does not narrow: "Any status". */
  any: string;
  options: readonly (readonly [value: string, text: string])[];
};

const choice = "sm:w-auto sm:max-w-52 data-[on=true]:border-accent-ink data-[on=true]:text-accent-ink";

/** Narrows a list to one value of a field. */
export function Filter({ list, name, label, any, options }: FilterProps) {
  const value = list.get(name) ?? "";
  const known = value === "" || options.some(([option]) => option === value);
  return (
    <Select
      aria-label={label}
      value={value}
      data-on={value !== ""}
      className={choice}
      onChange={(event) => list.set({ [name]: event.target.value })}
    >
      <option value="">{any}</option>
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {text}
        </option>
      ))}
      {!known && <option value={value}>{value}</option>}
    </Select>
  );
}

function OrderSelect({ list, orders }: { list: ListingState; orders: readonly Order[] }) {
  const [usual] = orders;
  const order = list.oneOf("sort", orders) ?? usual!;
  return (
    <Select
      aria-label="Order"
      value={order}
      className={choice}
      onChange={(event) => list.set({ sort: event.target.value === usual ? undefined : event.target.value })}
    >
      {orders.map((option) => (
        <option key={option} value={option}>
          {orderLabel(option)}
        </option>
      ))}
    </Select>
  );
}

function NothingMatches({ list }: { list: ListingState }) {
  return (
    <Empty
      icon={SearchX}
      title="Nothing matches"
      action={<Button onClick={list.clear}>Clear search and filters</Button>}
    >
      {list.q
        ? `Nothing here is called “${list.q}”, or the filters leave it out.`
        : "The filters leave out everything."}
    </Empty>
  );
}

function Pages({ list, next }: { list: ListingState; next: string | undefined }) {
  if (!list.cursor && !next) return null;
  return (
    <nav aria-label="Pages" className="flex justify-between gap-2 border-line border-t px-4 py-2.5 sm:px-5">
      <Button
        size="sm"
        variant="quiet"
        icon={<ChevronLeft aria-hidden className="size-4" />}
        disabled={!list.cursor}
        onClick={list.back}
      >
        {!list.cursor || list.knowsBack ? "Previous" : "First page"}
      </Button>
      <Button size="sm" variant="quiet" disabled={!next} onClick={() => list.next(next!)}>
        Next
        <ChevronRight aria-hidden className="size-4" />
      </Button>
    </nav>
  );
}
