/** dataset.Profile of the server, which the document leaves open: what a pass over every row has found. */
export type Profile = {
  rows: number;
  valid_rows: number;
  invalid_rows: number;
  examples: number;
  container?: string;
  format?: string;
  canonical?: string;
  roles?: Record<string, string> | null;
  unused?: string[] | null;
  columns: Column[] | null;
  prompt: Lengths;
  completion: Lengths;
  total: Lengths;
  turns?: Bucket[] | null;
  duplicates: { rows: number; distinct: number; approximate: boolean };
  issues: {
    errors: number;
    warnings: number;
    counts?: { code: string; severity: string; count: number }[] | null;
    cited?: Issue[] | null;
  };
  preview?: PreviewRow[] | null;
  notes?: string[] | null;
};

export type Column = {
  name: string;
  role?: string;
  types: Record<string, number>;
  nulls: number;
  null_share: number;
  empties: number;
  mean_chars: number;
  max_chars: number;
};

export type Lengths = {
  count: number;
  mean: number;
  min: number;
  p50: number;
  p90: number;
  p95: number;
  p99: number;
  max: number;
  total: number;
  estimated_tokens: number;
  buckets: Bucket[] | null;
};

export type Bucket = { from: number; to: number; count: number };
export type Issue = { row: number; line?: number; field?: string; code: string; severity: string; message: string };
export type PreviewRow = { row: number; line?: number; raw: unknown; canonical: unknown; issues: Issue[] | null };

/** The recommender's own rule of thumb (docs/recommender.md): so many characters make a token. */
export const charsPerToken = 3.6;

/** The share of rows longer than so many tokens. Lengths within a bucket are taken to be spread evenly. */
export function shareOver(buckets: Bucket[], tokens: number): number {
  const limit = tokens * charsPerToken;
  const all = buckets.reduce((sum, { count }) => sum + count, 0);
  const over = buckets.reduce((sum, bucket) => sum + bucket.count * overPart(bucket, limit), 0);
  return all === 0 ? 0 : over / all;
}

/** The part of a bucket's rows beyond the limit, 0 to 1. */
export function overPart({ from, to }: Bucket, limit: number): number {
  if (limit >= to) return 0;
  if (limit < from) return 1;
  return (to - limit) / (to - from + 1);
}
