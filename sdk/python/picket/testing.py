"""Runs a plugin inside of a test, without a host:

    import hello
    from picket.testing import Instance

    def test_hello():
        with Instance("acme/hello", config={}) as i:
            assert [s.metric for s in i.collect()] == ["acme.hello"]

It lives as it does in picketd: the configuration is decoded and checked, start and stop are called, and what makes no
sense is refused.
"""

from __future__ import annotations

import ipaddress
import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any, Iterable

from . import _host, records
from ._context import Context
from ._instance import InstanceConfig, Set
from .plugins import registered
from .types import CollectRequest, Finding, Notice, Receipt, Sample, Scope, Sighting, finding_id


class Instance:
    """One configured and started instance of a declared plugin. timeout is in seconds, of each call. models are
    files, by the id under which the plugin opens them."""

    def __init__(self, plugin: str, config: dict[str, Any] | None = None, *, secrets: dict[str, str] | None = None,
                 state_dir: str = "", timeout: float = 30.0, models: dict[str, str] | None = None) -> None:
        self._set = Set(registered(), lambda cfg: _host.Host(cfg, None, models))
        self._timeout = timeout
        self._set.configure(self._ctx(), InstanceConfig(
            "test", plugin, json.dumps(config or {}).encode(), secrets or {}, state_dir=state_dir))

    def _ctx(self) -> Context:
        return Context(time.monotonic() + self._timeout)

    def collect(self, at: datetime | None = None) -> list[Sample]:
        """Collects once and returns the samples; their times are nanoseconds."""
        out: list[Sample] = []
        request = CollectRequest(at or datetime.now(timezone.utc), timedelta(minutes=1))
        self._set.collect(self._ctx(), "test", request, out.append)
        return out

    def discover(self, *prefixes: str) -> list[Sighting]:
        """Looks for devices in the prefixes."""
        out: list[Sighting] = []
        self._set.discover(self._ctx(), "test", Scope([ipaddress.ip_network(p) for p in prefixes]), out.append)
        return out

    def inspect(self, frames: bytes, capture: str = "test") -> list[Any]:
        """Hands over frames, as picket flows --format frames writes them, and returns what was found, or seen by an
        observer."""
        out: list[Any] = []
        for frame in records.split(frames):
            self._set.inspect(self._ctx(), "test", capture, frame, out.append)
        return _with_ids(out)

    def flush(self) -> list[Any]:
        """Ends the capture."""
        out: list[Any] = []
        self._set.flush(self._ctx(), "test", out.append)
        return _with_ids(out)

    def notify(self, notice: Notice) -> Receipt:
        """Delivers a notice."""
        return self._set.notify(self._ctx(), "test", notice)

    def health(self) -> None:
        """Raises what is wrong."""
        self._set.health(self._ctx(), "test")

    def snapshot(self) -> bytes:
        """The state of the instance."""
        return self._set.snapshot(self._ctx(), "test")

    def restore(self, state: bytes) -> None:
        """Hands over a state."""
        self._set.restore(self._ctx(), "test", state)

    def stop(self) -> None:
        """Ends the instance."""
        self._set.stop(self._ctx(), "test")

    def __enter__(self) -> "Instance":
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def _with_ids(emitted: Iterable[Any]) -> list[Any]:
    out = list(emitted)
    for v in out:
        if isinstance(v, Finding):
            v.id = finding_id(v)
    return out


__all__ = ["Instance"]
