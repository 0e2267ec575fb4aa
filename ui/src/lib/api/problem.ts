/** What the API says when it refuses: RFC 9457, with the field and the remedy for people. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly field?: string;
  readonly remedy?: string;
  readonly requestId?: string;

  constructor(told: {
    status: number;
    code: string;
    detail: string;
    field?: string;
    remedy?: string;
    request_id?: string;
  }) {
    super(told.detail);
    this.name = "Problem";
    this.status = told.status;
    this.code = told.code;
    this.field = told.field;
    this.remedy = told.remedy;
    this.requestId = told.request_id;
  }

  /** The server was not reached at all. */
  static unreachable(): Problem {
    return new Problem({
      status: 0,
      code: "unreachable",
      detail: "VibeFlow does not answer.",
      remedy: "It may be restarting. This page goes on by itself once it is back.",
    });
  }

  static async of(response: Response): Promise<Problem> {
    const told = await response.json().catch(() => null);
    // OpenAI's envelope, from /v1.
    if (told?.error?.message) {
      return new Problem({
        status: response.status,
        code: told.error.code ?? "error",
        detail: told.error.message,
        field: told.error.param ?? undefined,
      });
    }
    return new Problem({
      status: response.status,
      code: told?.code ?? "error",
      detail: told?.detail ?? told?.title ?? `The server answered ${response.status}.`,
      field: told?.field,
      remedy: told?.remedy,
      request_id: told?.request_id ?? response.headers.get("X-Request-ID") ?? undefined,
    });
  }
}

/** An error of any kind, as a problem that can be shown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new Problem({ status: 0, code: "error", detail });
}
