"""Errors with a class. The class says who has to act, and the host decides by it what to do next."""

from __future__ import annotations


class Error(Exception):
    """A failure that the host understands. Raise one of the subclasses; anything else counts as a bug of the plugin.

    retry_after is in seconds and says when to try again; 0 leaves it to the host.
    """

    class_ = "internal"

    def __init__(self, message: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidConfig(Error):
    """The operator must change something."""

    class_ = "invalid_config"


class Temporary(Error):
    """Try again, after retry_after seconds if that is set."""

    class_ = "temporary"


class Downstream(Error):
    """The system that was asked or told refused."""

    class_ = "downstream"


class Unsupported(Error):
    """This platform or device cannot do it."""

    class_ = "unsupported"


class PermissionDenied(Error):
    """The grants do not allow it."""

    class_ = "permission_denied"


class Internal(Error):
    """A bug in the plugin: the class of every other exception too."""


class Cancelled(Temporary):
    """The host does not wait for this call any longer."""


class DeadlineExceeded(Cancelled):
    """The deadline of the call has passed."""


CLASSES: dict[str, type[Error]] = {
    c.class_: c for c in (InvalidConfig, Temporary, Downstream, Unsupported, PermissionDenied, Internal)
}

_MAX_MESSAGE = 4 << 10  # bytes; a message may travel in a header of limited size


def of(class_: str, message: str, retry_after: float = 0.0) -> Error:
    """The error of a class by its name, Internal for a name that does not exist."""
    return CLASSES.get(class_, Internal)(message, retry_after=retry_after)


def class_of(err: BaseException) -> str:
    """The class of an exception, also of one that was raised from a classified one."""
    seen = 0
    e: BaseException | None = err
    while e is not None and seen < 16:
        if isinstance(e, Error):
            return e.class_
        if isinstance(e, TimeoutError):
            return Temporary.class_
        e, seen = e.__cause__, seen + 1
    return Internal.class_


def text_of(err: BaseException) -> str:
    """What went wrong in words, cut to what fits on the wire."""
    words = str(err)
    if not isinstance(err, Error):
        name = type(err).__name__
        words = f"{name}: {words}" if words else name
    return cut(words or type(err).__name__, _MAX_MESSAGE)


def cut(text: str, limit: int) -> str:
    """The text as valid UTF-8 of at most limit bytes."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return raw.decode("utf-8")
    return raw[:limit].decode("utf-8", "ignore")


def join(*errs: BaseException | None) -> BaseException | None:
    """One error out of several; the class is that of the first."""
    left = [e for e in errs if e is not None]
    if len(left) < 2:
        return left[0] if left else None
    first = left[0]
    out = of(class_of(first), "\n".join(text_of(e) for e in left), getattr(first, "retry_after", 0.0))
    out.__cause__ = first
    return out
