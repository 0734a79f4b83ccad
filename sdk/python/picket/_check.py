"""What a plugin may emit. The host checks the same again; here the author is told."""

from __future__ import annotations

import ipaddress
import math
import re
import threading
import time
from typing import Any, Callable, Generic, TypeVar

from . import errors
from ._context import Context
from .errors import cut
from .types import COUNTER, GAUGE, SEVERITIES, DeliveryStatus, Finding, Receipt, Sample, Scope, Sighting, clean, nanos, unmapped

MAX_SAMPLES = 200_000
MAX_SIGHTINGS = 100_000
MAX_FINDINGS = 10_000
MAX_STATE = 16 << 20  # bytes of a snapshot

_MAX_NAME = 255
_MAX_UNIT = 63
_MAX_TEXT = 1024
_MAX_SUMMARY = 2048
_MAX_ENTRIES = 64
_MAX_FEATURES = 256
_MAX_TECHNIQUES = 32
_MAX_PACKETS = 4096
_MAX_FLOW_REFS = 512

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9._/:-]{0,254}\Z")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_TECHNIQUE = re.compile(r"T[0-9]{4}(\.[0-9]{3})?\Z")
_INSTANCE = re.compile(r"[!-~]{1,255}\Z")
_PLUGIN = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*\Z")

T = TypeVar("T")


class Refused(ValueError):
    """Something emitted makes no sense."""


def instance_name(name: str) -> bool:
    return bool(_INSTANCE.match(name))


def plugin_id(name: str) -> bool:
    """Whether an id has the form namespace/name."""
    return bool(_PLUGIN.match(name)) and len(name) <= 128


def technique(name: str) -> bool:
    return bool(_TECHNIQUE.match(name))


def sample(s: Sample) -> None:
    """Checks and bounds a sample; its time becomes nanoseconds."""
    if not isinstance(s.metric, str) or not _NAME.match(s.metric):
        raise Refused(f"metric {cut(str(s.metric), 80)!r} is not a name of letters, digits and . _ - / within {_MAX_NAME} bytes")
    if s.type not in (GAUGE, COUNTER):
        raise Refused(f"metric {s.metric}: type {cut(str(s.type), 80)!r} is neither gauge nor counter")
    s.value = _number(s.value, f"metric {s.metric}: value")
    if not math.isfinite(s.value):
        raise Refused(f"metric {s.metric}: value {s.value}; leave out what is not known")
    if s.type == COUNTER and s.value < 0:
        raise Refused(f"metric {s.metric}: counter of {s.value} is below 0")
    s.time = _when(s.time)
    s.unit = cut(clean(s.unit), _MAX_UNIT)
    s.labels = _texts(s.labels, f"metric {s.metric}: labels")


def sighting(scope: Scope | None) -> Callable[[Sighting], None]:
    """Returns the check of a sighting, which must lie inside the scope if there is one."""

    def check(s: Sighting) -> None:
        if s.ip in (None, "") and not s.mac and not s.hostname:
            raise Refused("sighting without address, MAC and name")
        if s.mac and not _MAC.match(s.mac):
            raise Refused(f"sighting: MAC {cut(s.mac, 80)!r} is not six lower case pairs with colons")
        s.confidence = _number(s.confidence, "sighting: confidence")
        if not 0 <= s.confidence <= 1:
            raise Refused(f"sighting: confidence {s.confidence} is not between 0 and 1")
        s.time = _when(s.time)
        s.hostname, s.source = cut(clean(s.hostname), _MAX_NAME), cut(clean(s.source), _MAX_NAME)
        s.facts = _texts(s.facts, "sighting: facts")
        if s.ip in (None, ""):
            s.ip = None
            return
        try:
            addr = unmapped(ipaddress.ip_address(str(s.ip).partition("%")[0]))
        except ValueError:
            raise Refused(f"sighting: {cut(str(s.ip), 80)!r} is not an address") from None
        if scope is not None and addr not in scope:
            raise Refused(f"sighting of {addr} lies outside the scope")
        s.ip = addr

    return check


def observed(s: Sighting) -> None:
    """Checks a sighting of an observer: a name alone is no device, and nobody has the address of many."""
    if s.ip in (None, "") and not s.mac:
        raise Refused("sighting without address and MAC")
    sighting(None)(s)
    if s.ip is not None and (s.ip.is_unspecified or s.ip.is_multicast or str(s.ip) == "255.255.255.255"):  # type: ignore[union-attr]
        raise Refused(f"sighting of {s.ip}, which is the address of no device")


def finding(rules: set[str], plugin: str) -> Callable[[Finding], None]:
    """Returns the check of a finding, whose rule must be declared."""

    def check(f: Finding) -> None:
        if f.rule not in rules:
            raise Refused(f"finding of rule {cut(str(f.rule), 80)!r}, which {plugin} does not declare")
        where = f"finding of rule {f.rule}"
        if f.severity not in SEVERITIES:
            raise Refused(f"{where}: severity {cut(str(f.severity), 80)!r} is not one of {', '.join(SEVERITIES)}")
        f.risk = int(_number(f.risk, f"{where}: risk", finite=True))
        if not 0 <= f.risk <= 100:
            raise Refused(f"{where}: risk {f.risk} is not between 0 and 100")
        f.confidence = _number(f.confidence, f"{where}: confidence")
        if not 0 <= f.confidence <= 1:
            raise Refused(f"{where}: confidence {f.confidence} is not between 0 and 1")
        if len(f.techniques) > _MAX_TECHNIQUES:
            raise Refused(f"{where}: {len(f.techniques)} techniques")
        if len(f.features) > _MAX_FEATURES:
            raise Refused(f"{where}: {len(f.features)} features are more than {_MAX_FEATURES}")
        for t in f.techniques:
            if not technique(t):
                raise Refused(f"{where}: {cut(str(t), 80)!r} is not a technique such as T1046 or T1110.001")
        features = {}
        for key, v in f.features.items():
            v = _number(v, f"{where}: feature {cut(str(key), 80)!r}", finite=True)
            if not key or len(clean(key).encode()) > _MAX_NAME:
                raise Refused(f"{where}: feature {cut(str(key), 80)!r} is {v}")
            features[clean(key)] = v
        f.features = features
        f.detector, f.id = plugin, cut(clean(f.id), _MAX_NAME)
        f.src, f.dst = cut(clean(f.src), _MAX_NAME), cut(clean(f.dst), _MAX_NAME)
        f.summary = cut(clean(f.summary), _MAX_SUMMARY)
        f.packets = [int(n) for n in f.packets[:_MAX_PACKETS]]
        if any(not 0 <= n < 1 << 64 for n in f.packets):
            raise Refused(f"{where}: packet numbers are from 0 to 2^64-1")
        f.flows = f.flows[:_MAX_FLOW_REFS]
        f.start, f.end = nanos(f.start), nanos(f.end)

    return check


def receipt(r: Receipt) -> Receipt:
    return Receipt(cut(clean(r.foreign_id), _MAX_NAME), cut(clean(r.url), _MAX_SUMMARY), bool(r.undoable))


def status(s: DeliveryStatus) -> DeliveryStatus:
    if s.state not in ("open", "closed", "undone"):
        raise errors.Internal(f"status {cut(str(s.state), 80)!r} is not one of open, closed, undone")
    return DeliveryStatus(s.state, cut(clean(s.text), _MAX_NAME), nanos(s.time))


def _number(v: Any, what: str, finite: bool = False) -> float:
    try:
        out = float(v)
    except (TypeError, ValueError, OverflowError):
        raise Refused(f"{what} {cut(str(v), 80)!r} is not a number") from None
    if finite and not math.isfinite(out):
        raise Refused(f"{what} is {out}")
    return out


def _when(t: Any) -> int:
    ns = nanos(t)
    return time.time_ns() if ns is None else ns


def _texts(m: dict[str, str], what: str) -> dict[str, str]:
    """Bounds a dict of texts. A key is refused rather than cut: two could become one."""
    if not m:
        return {}
    if len(m) > _MAX_ENTRIES:
        raise Refused(f"{what}: {len(m)} entries are more than {_MAX_ENTRIES}")
    out = {}
    for key, v in m.items():
        if not key or not isinstance(key, str) or len(clean(key).encode()) > _MAX_NAME:
            raise Refused(f"{what}: key {cut(str(key), 80)!r}")
        out[clean(key)] = cut(clean(v), _MAX_TEXT)
    return out


class Gate(Generic[T]):
    """Stands between a plugin and a sink: checks and counts what is emitted, lets any thread of the plugin emit, and
    shuts when the call ends."""

    def __init__(self, ctx: Context, limit: int, what: str, check: Callable[[T], None], emit: Callable[[T], None]) -> None:
        self._ctx, self._limit, self._what, self._check, self._emit = ctx, limit, what, check, emit
        self._lock = threading.Lock()
        self._count = 0
        self._refused = 0
        self._first = ""
        self._closed = False

    def put(self, v: T) -> None:
        """Passes v on. One that is not valid is left out and counted: the others are still worth having."""
        with self._lock:
            if self._closed:
                raise errors.Internal(f"the call that these {self._what} belong to has ended")
            self._ctx.check()
            if self._count >= self._limit:
                problem = f"more than {self._limit} {self._what} in one call"
                self._refuse(problem)
                raise errors.Internal(problem)
            try:
                self._check(v)
            except Refused as e:
                self._refuse(str(e))
                return
            self._count += 1
            self._emit(v)

    def _refuse(self, why: str) -> None:
        self._refused += 1
        self._first = self._first or why

    def result(self, err: BaseException | None) -> BaseException | None:
        """Adds to the error of the call that something was refused."""
        with self._lock:
            self._closed = True
            if not self._refused:
                return err
            return errors.join(err, errors.Internal(
                f"{self._refused} {self._what} were refused, the first because: {self._first}"))
