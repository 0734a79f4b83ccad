"""Declares plugins: one decorator per kind, put above a class whose methods do the work."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, TypeVar

from . import _check, config
from .types import COLLECTOR, DETECTOR, DISCOVERY, NOTIFIER, SEVERITIES, Packets, Rule

C = TypeVar("C", bound=type)

_WORK = {COLLECTOR: ("collect",), DISCOVERY: ("discover",), DETECTOR: ("inspect", "flush"), NOTIFIER: ("notify",)}


@dataclass
class Plugin:
    """One declared plugin."""

    id: str
    kind: str
    summary: str
    new: type
    rules: list[Rule] = field(default_factory=list)
    flows: bool = False
    packets: Packets | None = None
    config: type | None = None

    def has(self, method: str) -> bool:
        """Whether the class has an optional method."""
        return callable(getattr(self.new, method, None))

    def describe(self) -> dict[str, Any]:
        """What the plugin says about itself, as JSON has it."""
        subscription: dict[str, Any] = {}
        if self.flows:
            subscription["flows"] = True
        if self.packets is not None:
            subscription["packets"] = {k: v for k, v in (("layers", list(self.packets.layers)),
                                                         ("snaplen", self.packets.snaplen)) if v}
        out: dict[str, Any] = {"id": self.id, "kind": self.kind, "summary": self.summary}
        if self.rules:
            out["rules"] = [_rule(r) for r in self.rules]
        return {**out, "subscription": subscription, "config_schema": config.schema(self.config)}


def _rule(r: Rule) -> dict[str, Any]:
    out: dict[str, Any] = {"id": r.id, "purpose": r.purpose}
    if r.techniques:
        out["techniques"] = list(r.techniques)
    out["severity"] = r.severity
    if r.false_positives:
        out["false_positives"] = list(r.false_positives)
    return out


_registered: dict[str, Plugin] = {}


def registered() -> list[Plugin]:
    """All declared plugins, ordered by id."""
    return [_registered[k] for k in sorted(_registered)]


def _declare(p: Plugin) -> None:
    where = f"plugin {p.id!r}"
    if not _check.plugin_id(p.id):
        raise TypeError(f"{where}: the id must be namespace/name in lower case letters, digits and dashes")
    if p.id in _registered and _registered[p.id].new.__qualname__ != p.new.__qualname__:
        raise TypeError(f"{where} is declared twice")
    for method in _WORK[p.kind]:
        if not p.has(method):
            raise TypeError(f"{where}: a {p.kind} needs a method {method}")
    if p.has("snapshot") != p.has("restore"):
        raise TypeError(f"{where}: snapshot and restore go together")
    for r in p.rules:
        if r.severity not in SEVERITIES or not all(_check.technique(t) for t in r.techniques):
            raise TypeError(f"{where}: rule {r.id}: severity or techniques are not valid")
    p.config = typing.get_type_hints(p.new).get("config")
    config.schema(p.config)  # a mistake in it shows at once
    _registered[p.id] = p


def collector(*, id: str, summary: str) -> Callable[[C], C]:
    """A class that measures: collect(self, req, sink) is called on a schedule and emits samples. Optional:
    watch(self, sink) for sources that send by themselves."""
    return _decorator(id=id, kind=COLLECTOR, summary=summary)


def discovery(*, id: str, summary: str) -> Callable[[C], C]:
    """A class that finds devices: discover(self, scope, sink) emits sightings as they come and never leaves the
    scope."""
    return _decorator(id=id, kind=DISCOVERY, summary=summary)


def detector(*, id: str, summary: str, rules: Iterable[Rule], flows: bool = False,
             packets: Packets | None = None) -> Callable[[C], C]:
    """A class that judges records: inspect(self, batch, sink) gets what was subscribed to (flows or packets), one batch
    at a time and in order of time; flush(self, sink) is called at the end of a capture: report what is pending and
    forget what was seen."""
    if flows == (packets is not None):
        raise TypeError(f"plugin {id!r}: a detector subscribes to flows or to packets")
    return _decorator(id=id, kind=DETECTOR, summary=summary, rules=list(rules), flows=flows, packets=packets)


def notifier(*, id: str, summary: str) -> Callable[[C], C]:
    """A class that tells people or systems: notify(self, notice) returns a Receipt or None; the class of the exception
    that it raises decides whether the host tries again. Optional: undo(self, receipt) and status(self, receipt)."""
    return _decorator(id=id, kind=NOTIFIER, summary=summary)


def _decorator(**declaration: Any) -> Callable[[C], C]:
    def decorate(cls: C) -> C:
        _declare(Plugin(new=cls, **declaration))
        return cls

    return decorate
