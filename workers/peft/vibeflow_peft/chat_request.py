"""Reads OpenAI's chat completion request: what we support is validated, what we do not is refused, never ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .engine import Sampling

DEFAULT_MAX_TOKENS = 1024
"""The longest answer where the request names none (and the context has room)."""

_ROLES = ("system", "developer", "user", "assistant", "tool")
# They change nothing about an answer here, so that taking them is no lie.
_HARMLESS = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
# What each of these has to be for a request to mean the same without it.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "tool_choice": ("none",),
    "functions": ([],),
    "function_call": ("none",),
    "parallel_tool_calls": (True, False),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
}
_SUPPORTED = {
    "messages",
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "stream",
    "stream_options",
}


class RequestError(Exception):
    """A refusal in OpenAI's terms."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class ChatRequest:
    """A validated request; max_tokens is None where the client named none."""

    model: str
    messages: list[dict[str, str]]
    max_tokens: int | None
    temperature: float
    top_p: float
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    include_usage: bool
    continuous_usage: bool  # vLLM's name for it: tokens so far with each piece

    def sampling(self, prompt_tokens: int, context: int) -> Sampling:
        """How to draw the answer; RequestError if prompt and answer do not fit into the model's context."""
        wanted = self.max_tokens or 1
        if prompt_tokens + wanted > context:
            raise RequestError(
                400,
                f"This model's context is {context} tokens; the messages are {prompt_tokens} and "
                f"the answer may be {wanted}. Shorten the messages or max_tokens.",
                param="messages",
                code="context_length_exceeded",
            )
        limit = self.max_tokens or min(DEFAULT_MAX_TOKENS, context - prompt_tokens)
        return Sampling(limit, self.temperature, self.top_p, self.seed, self.stop)


def parse(body: Any) -> ChatRequest:
    """The request of a decoded JSON body; RequestError names the parameter at fault."""
    if not isinstance(body, dict):
        raise RequestError(400, "The body must be a JSON object.")
    given = {name: value for name, value in body.items() if value is not None}
    _refuse_unsupported(given)
    stream = _typed(given, "stream", bool, False)
    options = _typed(given, "stream_options", dict, {})
    if options and not stream:
        raise _invalid("stream_options", "is only for streams")
    limits = [_number(given, name, 1, 1 << 20, whole=True) for name in ("max_completion_tokens", "max_tokens")]
    temperature, top_p = _number(given, "temperature", 0, 2), _number(given, "top_p", 0, 1)
    return ChatRequest(
        model=_typed(given, "model", str),
        messages=_messages(given),
        max_tokens=next((limit for limit in limits if limit is not None), None),
        temperature=1.0 if temperature is None else float(temperature),
        top_p=1.0 if top_p is None else float(top_p),
        stop=_stop(given),
        seed=_number(given, "seed", -(1 << 63), (1 << 63) - 1, whole=True),
        stream=stream,
        include_usage=_typed(options, "include_usage", bool, False),
        continuous_usage=_typed(options, "continuous_usage_stats", bool, False),
    )


def _refuse_unsupported(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if name in _SUPPORTED or name in _HARMLESS or (name in _NEUTRAL and value in _NEUTRAL[name]):
            continue
        if name in _NEUTRAL:
            raise RequestError(
                400,
                f"{name} = {str(value)[:60]!r} is not supported by this server.",
                param=name,
                code="unsupported_parameter",
            )
        raise RequestError(
            400, f"Unrecognized request argument: {name[:60]}", param=name[:60], code="unknown_parameter"
        )


def _messages(given: dict[str, Any]) -> list[dict[str, str]]:
    messages = _typed(given, "messages", list)
    if not messages:
        raise _invalid("messages", "is empty")
    return [_message(f"messages[{i}]", message) for i, message in enumerate(messages)]


def _message(where: str, message: Any) -> dict[str, str]:
    if not isinstance(message, dict):
        raise _invalid(where, "must be an object")
    role = message.get("role")
    if role not in _ROLES:
        raise _invalid(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    if message.get("tool_calls") or message.get("function_call"):
        raise RequestError(
            400,
            "Tool calls are not supported by this server.",
            param=f"{where}.tool_calls",
            code="unsupported_parameter",
        )
    # "developer" is OpenAI's newer name of "system", which is what open models' templates know.
    return {"role": "system" if role == "developer" else role, "content": _content(where, message.get("content"))}


def _content(where: str, content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise _invalid(f"{where}.content", "must be a text")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _invalid(f"{where}.content", "may hold parts of type text only: this model reads text")
        texts.append(part["text"])
    return "".join(texts)


def _stop(given: dict[str, Any]) -> tuple[str, ...]:
    stop = given.get("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > 4 or not all(isinstance(s, str) and s for s in stops):
        raise _invalid("stop", "must be a text or up to four of them")
    return tuple(stops)


def _typed(given: dict[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    value = given.get(name, default)
    if value is ...:
        raise RequestError(400, f"{name} is missing.", param=name, code="missing_required_parameter")
    if not isinstance(value, kind):
        raise _invalid(name, "has the wrong type")
    return value


def _number(given: dict[str, Any], name: str, low: float, high: float, *, whole: bool = False) -> Any:
    value = given.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not low <= value <= high:
        raise _invalid(name, f"must be a {'whole ' * whole}number from {low} to {high}")
    return value


def _invalid(name: str, why: str) -> RequestError:
    return RequestError(400, f"{name} {why}.", param=name, code="invalid_value")
