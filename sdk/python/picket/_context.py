"""The context of a call: its deadline, and whether the host still waits for it."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Callable

from . import errors


class Context:
    """What a plugin may ask about the call that it is in (see picket.context)."""

    def __init__(self, deadline: float | None = None, parents: tuple["Context", ...] = ()) -> None:
        self._deadline = deadline  # of time.monotonic
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self._parents = parents
        for p in parents:
            if p._deadline is not None:
                self._deadline = p._deadline if self._deadline is None else min(p._deadline, self._deadline)
            p.on_cancel(self.cancel)

    @property
    def cancelled(self) -> bool:
        """Whether the call should end: it was cancelled, or its deadline has passed."""
        return self._event.is_set() or self.remaining() == 0.0

    def remaining(self) -> float | None:
        """The seconds that are left until the deadline, None without one."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    def wait(self, seconds: float) -> bool:
        """Sleeps, at most until the call should end. True when it should."""
        left = self.remaining()
        self._event.wait(seconds if left is None else min(seconds, left))
        return self.cancelled

    def check(self) -> None:
        """Raises Cancelled or DeadlineExceeded when the call should end."""
        if self._event.is_set():
            raise errors.Cancelled("the call was cancelled")
        if self.remaining() == 0.0:
            raise errors.DeadlineExceeded("the deadline of the call has passed")

    def cancel(self) -> None:
        """Ends the context."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for c in callbacks:
            c()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Calls back once when the context is cancelled, at once if it was."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def close(self) -> None:
        """Cancels the context and unlinks it from its parents. The runtime does it at the end of a call."""
        for p in self._parents:
            with p._lock:
                if self.cancel in p._callbacks:
                    p._callbacks.remove(self.cancel)
        self.cancel()


_current: contextvars.ContextVar[Context] = contextvars.ContextVar("picket-context")
_background = Context()


def context() -> Context:
    """The context of the call that this thread is in. Threads that a plugin starts have one that never ends; hand
    them the one of the call."""
    return _current.get(_background)


def enter(ctx: Context) -> contextvars.Token[Context]:
    return _current.set(ctx)


def leave(token: contextvars.Token[Context]) -> None:
    _current.reset(token)
