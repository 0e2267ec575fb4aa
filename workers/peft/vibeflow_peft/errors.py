"""The runner's one error type: it crosses into result.json as contract.Error (contract/errors.go)."""

from __future__ import annotations


class RunnerError(Exception):
    """A failure that the user or operator can act on.

    code is one of contract's codes ("bad_data", "model_unavailable", …); message says what is wrong, remedy what to
    do about it, field which part of the input is at fault; detail is for the log only.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "", detail: str = "", field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.detail = detail
        self.field = field

    def to_json(self) -> dict[str, str]:
        """The error as contract.Error, without its empty fields."""
        fields = {"code": self.code, "message": self.message, "field": self.field,
                  "remedy": self.remedy, "detail": self.detail}
        return {key: value for key, value in fields.items() if value or key in ("code", "message")}
