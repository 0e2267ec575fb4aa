"""One thread that does the model's work, and the fair queue in front of it."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

_Call = tuple[Future, Callable[[], Any]]


class LaneFull(Exception):
    """Too many calls wait already."""


class Lane:
    """Runs calls one after another on a thread of its own.

    Every key (a served model) has a queue, and the queues take turns, so that many requests for one model do not keep
    another model's single request waiting. Safe to submit to from any thread.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: OrderedDict[str, deque[_Call]] = OrderedDict()
        self._waiting = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Calls that have not begun."""
        return self._waiting

    def submit(self, key: str, call: Callable[[], Any], *, unlimited: bool = False) -> Future:
        """Queues a call; LaneFull if too many wait (unless unlimited). Cancelling the future takes it out again."""
        future: Future = Future()
        with self._changed:
            if self._waiting >= self._limit and not unlimited:
                raise LaneFull
            self._queues.setdefault(key, deque()).append((future, call))
            self._waiting += 1
            self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            future, call = self._next()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001  (it belongs to whoever waits for the future)
                future.set_exception(error)
            else:
                future.set_result(result)
            # Not kept until the next call: a result may hold a model.
            del future, call

    def _next(self) -> _Call:
        with self._changed:
            while not self._queues:
                self._changed.wait()
            key, queue = self._queues.popitem(last=False)
            call = queue.popleft()
            if queue:
                self._queues[key] = queue  # at the end: the other keys go first
            self._waiting -= 1
            return call
