"""The log of a plugin: JSON lines on stderr, which the host understands and puts into its own log."""

from __future__ import annotations

import json
import logging
import os
import traceback
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

_PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_LEVELS = {"WARNING": "WARN", "CRITICAL": "ERROR"}


class _Handler(logging.Handler):
    def __init__(self, fd: int) -> None:
        super().__init__(logging.DEBUG)
        self._fd = fd

    def emit(self, record: logging.LogRecord) -> None:
        try:
            os.write(self._fd, line(record))
        except Exception:  # noqa: BLE001 - a log that cannot be written must not end the plugin
            pass


def line(record: logging.LogRecord) -> bytes:
    when = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
    out: dict[str, Any] = {"time": when, "level": _LEVELS.get(record.levelname, record.levelname), "msg": record.getMessage()}
    for key, v in vars(record).items():
        if key not in _PLAIN:
            out[key] = v if isinstance(v, (str, int, float, bool, type(None))) else str(v)
    if record.exc_info:
        kind, err, tb = record.exc_info
        out["traceback"] = "".join(traceback.format_exception(kind, err, authors(tb)))[-8000:].rstrip("\n")
    return json.dumps(out, allow_nan=False, default=str).encode("utf-8", "replace") + b"\n"


def authors(tb: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that begins in the plugin: how the SDK came to call it says nothing to its author."""
    here = os.path.dirname(__file__) + os.sep
    begin = tb
    while begin is not None and begin.tb_frame.f_code.co_filename.startswith(here):
        begin = begin.tb_next
    return begin or tb


def setup() -> None:
    """Sends all loggers of the process to stderr as JSON, every level: the host chooses."""
    root = logging.getLogger()
    root.handlers[:] = [_Handler(2)]
    root.setLevel(logging.INFO)  # other libraries
    logging.getLogger("picket").setLevel(logging.DEBUG)


class InstanceLog(logging.LoggerAdapter):  # type: ignore[type-arg]
    """The log of one instance. Further attributes go into extra: log.info("asked", extra={"target": t})."""

    def process(self, msg: Any, kwargs: Any) -> Any:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def of(instance: str) -> InstanceLog:
    return InstanceLog(logging.getLogger("picket.plugin"), {"instance": instance})
