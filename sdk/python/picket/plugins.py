"""Declares plugins: one decorator per kind, put above a class whose methods do the work."""

from __future__ import annotations

import typing
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable, TypeVar

from . import _check, config
from .types import COLLECTOR, DETECTOR, DISCOVERY, FACT_KINDS, NOTIFIER, SEVERITIES, Packets, Rule

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
    features: bool = False
    facts: tuple[str, ...] = ()
    packets: Packets | None = None
    config: type | None = None

    @property
    def observes(self) -> bool:
        """Whether it is a discovery plugin that is shown records."""
        return self.kind == DISCOVERY and self.has("observe")

    def has(self, method: str) -> bool:
        """Whether the class has an optional method."""
        return callable(getattr(self.new, method, None))

    def describe(self) -> dict[str, Any]:
        """What the plugin says about itself, as JSON has it."""
        subscription: dict[str, Any] = {}
        if self.flows:
            subscription["flows"] = True
        if self.features:
            subscription["features"] = True
        if self.facts:
            subscription["facts"] = list(self.facts)
        if self.packets is not None:
            subscription["packets"] = {k: v for k, v in (("layers", list(self.packets.layers)),
                                                         ("snaplen", self.packets.snaplen)) if v}
        out: dict[str, Any] = {"id": self.id, "kind": self.kind, "summary": self.summary}
        if self.rules:
            out["rules"] = [_rule(r) for r in self.rules]
        out = {**out, "subscription": subscription, "config_schema": config.schema(self.config)}
        if self.observes:
            out["observes"] = True
            if not self.has("discover"):
                out["passive"] = True
        return out


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
    _check_subscription(where, p)
    for method in ("observe", "end_capture") if p.observes and not p.has("discover") else _WORK[p.kind]:
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


def _check_subscription(where: str, p: Plugin) -> None:
    asks = p.flows or bool(p.facts) or p.packets is not None
    if p.kind == DETECTOR and not asks:
        raise TypeError(f"{where}: a detector subscribes to flows, to facts or to packets")
    if p.kind == DISCOVERY and asks != p.observes:
        raise TypeError(f"{where}: a discovery that has observe, and no other, subscribes to flows, to facts or to packets")
    if p.observes and not p.has("end_capture"):
        raise TypeError(f"{where}: observe and end_capture go together")
    if p.features and not p.flows:
        raise TypeError(f"{where}: features are those of flows")
    for kind in p.facts:
        if kind not in FACT_KINDS:
            raise TypeError(f"{where}: there are no facts {kind!r} (there are: {', '.join(FACT_KINDS)})")


def collector(*, id: str, summary: str) -> Callable[[C], C]:
    """A class that measures: collect(self, req, sink) is called on a schedule and emits samples. Optional:
    watch(self, sink) for sources that send by themselves."""
    return _decorator(id=id, kind=COLLECTOR, summary=summary)


def discovery(*, id: str, summary: str, flows: bool = False, features: bool = False, facts: Iterable[str] = (),
              packets: Packets | None = None) -> Callable[[C], C]:
    """A class that finds devices: discover(self, scope, sink) emits sightings as they come and never leaves the
    scope. Instead of that, or besides, it may learn of them from records: observe(self, batch, sink) gets what was subscribed
    to, as a detector does, and end_capture(self, sink) is called at the end of a capture."""
    return _decorator(id=id, kind=DISCOVERY, summary=summary, flows=flows, features=features, facts=tuple(facts), packets=packets)


def detector(*, id: str, summary: str, rules: Iterable[Rule], flows: bool = False, features: bool = False,
             facts: Iterable[str] = (), packets: Packets | None = None) -> Callable[[C], C]:
    """A class that judges records: inspect(self, batch, sink) gets what was subscribed to, one batch of one kind at a time and
    in order of time; flush(self, sink) is called at the end of a capture: report what is pending and forget what was seen.
    features are the further columns of flows; facts are kinds of what parsers understood, for example "dns" and "tls"."""
    return _decorator(id=id, kind=DETECTOR, summary=summary, rules=list(rules), flows=flows, features=features,
                      facts=tuple(facts), packets=packets)


def notifier(*, id: str, summary: str) -> Callable[[C], C]:
    """A class that tells people or systems: notify(self, notice) returns a Receipt or None; the class of the exception
    that it raises decides whether the host tries again. Optional: undo(self, receipt) and status(self, receipt)."""
    return _decorator(id=id, kind=NOTIFIER, summary=summary)


def _decorator(**declaration: Any) -> Callable[[C], C]:
    def decorate(cls: C) -> C:
        _declare(Plugin(new=cls, **declaration))
        return cls

    return decorate
