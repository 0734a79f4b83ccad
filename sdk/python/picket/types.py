"""The nouns that a plugin and its host exchange. They mean the same as in the contract, sdk/sdk.go."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Union

import numpy as np

# Protocol is the major version of the contract that this SDK speaks.
PROTOCOL = 1

COLLECTOR = "collector"
DISCOVERY = "discovery"
DETECTOR = "detector"
NOTIFIER = "notifier"

GAUGE = "gauge"
COUNTER = "counter"

# Kinds of facts: what the parsers of the traffic engine understood.
FACT_KINDS = ("dns", "tls", "http", "smb", "dhcp", "arp", "ot", "files", "logins", "messages", "contents")

SEVERITIES = ("info", "low", "medium", "high", "critical")

Address = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
# A time of a record: nanoseconds since 1970 UTC, or anything that nanos() turns into them.
Time = Union[int, np.datetime64, datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MIN, _MAX = -(1 << 63), (1 << 63) - 1


def nanos(t: Time | None) -> int | None:
    """Nanoseconds since 1970 UTC of a datetime (a naive one is in UTC), a numpy datetime64 or a number of nanoseconds;
    None for None and for NaT. Beyond the years 1678 to 2262 it is the nearest inside."""
    if t is None:
        return None
    if isinstance(t, np.datetime64):
        if np.isnat(t):
            return None
        return int(t.astype("datetime64[ns]").astype(np.int64))
    if isinstance(t, datetime):
        if t.tzinfo is None:
            t = t.replace(tzinfo=timezone.utc)
        d = t - _EPOCH
        t = (d.days * 86400 + d.seconds) * 10**9 + d.microseconds * 1000
    return min(max(int(t), _MIN + 1), _MAX)


def from_nanos(ns: int) -> datetime:
    """The datetime in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


@dataclass(frozen=True)
class Rule:
    """One thing that a detector can find.

    id is unique within the plugin; purpose is one sentence that ends in a full stop; techniques are ATT&CK ids such as
    T1046; severity is the usual one, a finding may differ; false_positives are known benign causes.
    """

    id: str
    purpose: str
    severity: str = "medium"
    techniques: tuple[str, ...] | list[str] = ()
    false_positives: tuple[str, ...] | list[str] = ()


@dataclass(frozen=True)
class Packets:
    """Which packets a detector wants (permission packets.read): layers of which a packet holds at least one, none
    means all; snaplen is how many bytes of each, 0 means 256."""

    layers: tuple[str, ...] | list[str] = ()
    snaplen: int = 0


@dataclass
class CollectRequest:
    """What the host wants from one collection. time is when it was due; interval the time until the next one."""

    time: datetime | None = None
    interval: timedelta = timedelta(0)


@dataclass
class Sample:
    """One measured value of a series. Name and labels follow the OpenTelemetry semantic conventions; unit is UCUM, for
    example "s", "By", "1". A value that is not known is left out, never 0. time is now when it is None."""

    metric: str
    value: float
    unit: str = ""
    type: str = GAUGE
    labels: dict[str, str] = field(default_factory=dict)
    time: Time | None = None


@dataclass
class Scope:
    """Limits a discovery: no address outside of the prefixes is touched."""

    prefixes: list[Network] = field(default_factory=list)

    def __contains__(self, addr: str | Address) -> bool:
        a = unmapped(ipaddress.ip_address(addr))
        return any(a.version == p.version and a in p for p in self.prefixes)


@dataclass
class Sighting:
    """What a discovery plugin saw of a device. mac is lower case with colons; confidence between 0 and 1; time is now
    when it is None. source is the protocol that told it, packet where in the capture an observer saw it."""

    ip: str | Address | None = None
    mac: str = ""
    hostname: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    confidence: float = 1.0
    time: Time | None = None
    source: str = ""
    packet: int = 0


@dataclass
class FlowRef:
    """Names a flow in the evidence of a finding; src and dst are address:port."""

    id: int
    community_id: str
    proto: str
    src: str
    dst: str


@dataclass
class Finding:
    """What a detector says once. The host makes the id from what was found, so that a replay cannot double it; a
    detector sets id only to tell apart findings that have all the rest in common.

    risk is 0 to 100, confidence 0 to 1; src is an address, or "" when there are many; dst an address, address:port or
    prefix; packets are numbers in the capture, from 1; features are what the verdict rests on.
    """

    rule: str
    severity: str = "medium"
    risk: int = 50
    confidence: float = 1.0
    summary: str = ""
    src: str = ""
    dst: str = ""
    start: Time | None = None
    end: Time | None = None
    techniques: list[str] = field(default_factory=list)
    packets: list[int] = field(default_factory=list)
    flows: list[FlowRef] = field(default_factory=list)
    features: dict[str, float] = field(default_factory=dict)
    id: str = ""
    detector: str = ""


def finding_id(f: Finding) -> str:
    """The id that the host gives to a finding."""
    # A start that is not set is the year 1, whose nanoseconds wrap around in the host's integers.
    ns = nanos(f.start)
    start = -6795364578871345152 if ns is None else ns
    h = hashlib.sha256()
    for s in (f.detector, f.id, f.rule, f.src, f.dst, str(start), ",".join(f.techniques)):
        raw = s.encode("utf-8", "replace")
        h.update(str(len(raw)).encode() + b":" + raw)
    return h.digest()[:12].hex()


@dataclass
class Notice:
    """What a notifier is asked to deliver. id is the same for each retry; event is "alert.firing", "alert.resolved",
    "metrics" or "test"; url is the alert's page; alert the finding that it rests on; alert_id the same for every notice
    of one alert; samples are what was measured (permission metrics.read)."""

    id: str
    event: str
    severity: str
    title: str
    text: str
    time: datetime | None = None
    url: str = ""
    alert: Finding | None = None
    alert_id: str = ""
    samples: list[Sample] = field(default_factory=list)


@dataclass
class Receipt:
    """What a system that was told answered."""

    foreign_id: str = ""
    url: str = ""
    undoable: bool = False


@dataclass
class DeliveryStatus:
    """What became of something delivered: state is "open", "closed" (done there, so the alert is resolved here) or
    "undone"; text is what the other system calls it; time is when it changed."""

    state: str
    text: str = ""
    time: Time | None = None


def unmapped(a: Address) -> Address:
    """An IPv4 address that is mapped into IPv6 as the IPv4 address that it is."""
    if isinstance(a, ipaddress.IPv6Address) and a.ipv4_mapped is not None:
        return a.ipv4_mapped
    return a


def clean(v: Any) -> str:
    """A text that protobuf takes: valid UTF-8."""
    s = v if isinstance(v, str) else str(v)
    return s.encode("utf-8", "replace").decode("utf-8")
