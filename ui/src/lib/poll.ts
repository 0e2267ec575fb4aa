import { isMoving } from "@/components/Status";

const fast = 2_000;
const slow = 20_000;

type Query<T> = { state: { data: T | undefined } };

/** How often to ask again: often while something moves by itself, else to notice what others do. */
export const pollOne = <T extends { status: string }>(query: Query<T>) =>
  isMoving(query.state.data?.status) ? fast : slow;

export const pollList = <T extends { items: { status: string }[] }>(query: Query<T>) =>
  query.state.data?.items.some((item) => isMoving(item.status)) ? fast : slow;
