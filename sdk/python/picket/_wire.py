"""Turns the nouns into the messages of the control plane and back."""

from __future__ import annotations

import base64
import ipaddress
import json
from datetime import timedelta
from typing import Any

from google.protobuf import descriptor_pool, message_factory

from . import errors
from ._instance import InstanceConfig
from ._messages import FILES
from .plugins import Plugin
from .types import (CollectRequest, DeliveryStatus, Finding, FlowRef, Notice, Receipt, Sample, Scope, Sighting, clean,
                    from_nanos)

MAX_MESSAGE = 20 << 20  # bytes, in either direction

_pool = descriptor_pool.DescriptorPool()
for _file in FILES.values():
    _pool.AddSerializedFile(base64.b64decode(_file))


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName("picket.plugin.v1." + name))


def service_methods() -> dict[str, tuple[Any, Any, bool]]:
    """Request, response and whether the response is a stream, by the path of each method."""
    out = {}
    for file in FILES:
        for service in _pool.FindFileByName(file).services_by_name.values():
            for m in service.methods:
                get = message_factory.GetMessageClass
                out[f"/{service.full_name}/{m.name}"] = (get(m.input_type), get(m.output_type), bool(m.server_streaming))
    return out


_Error = message("Error")
_Sample = message("Sample")
_Sighting = message("Sighting")
_Finding = message("Finding")
_Description = message("Description")


def error_to_pb(err: BaseException) -> Any:
    retry = getattr(err, "retry_after", 0.0)
    return _Error(**{"class": errors.class_of(err)}, message=errors.text_of(err),
                  retry_after_nanos=int(min(max(retry, 0.0), 1e9) * 1e9))


def status_details(err: BaseException, code: int) -> bytes:
    """A serialized google.rpc.Status that carries the error. Its few fields are written by hand, so that no further
    package is needed."""
    e = error_to_pb(err)
    any_ = _bytes(1, b"type.googleapis.com/picket.plugin.v1.Error") + _bytes(2, e.SerializeToString())
    return b"\x08" + _varint(code) + _bytes(2, e.message.encode()) + _bytes(3, any_)


def _varint(n: int) -> bytes:
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def _bytes(field: int, raw: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(raw)) + raw


def description_to_pb(p: Plugin) -> Any:
    d = p.describe()
    out = _Description(id=d["id"], kind=d["kind"], summary=d["summary"], config_schema=json.dumps(d["config_schema"]).encode())
    for r in d.get("rules", []):
        out.rules.add(**r)
    out.subscription.flows, out.subscription.features = p.flows, p.features
    out.subscription.facts.extend(p.facts)
    if p.packets is not None:
        out.subscription.packets.SetInParent()
        out.subscription.packets.layers.extend(p.packets.layers)
        out.subscription.packets.snap_len = p.packets.snaplen
    out.watches, out.undoes = p.has("watch"), p.has("undo")
    out.reports_status, out.snapshots = p.has("status"), p.has("snapshot")
    out.observes = p.observes
    out.passive = p.observes and not p.has("discover")
    return out


def instance_config_from_pb(r: Any) -> InstanceConfig:
    grants = [{"cap": g.cap, "args": {k: list(v.values) for k, v in g.args.items()}} for g in r.grants]
    return InstanceConfig(r.instance, r.plugin, r.config, dict(r.secrets), grants, r.state_dir, list(r.deny_dial),
                          r.channel, r.generation)


def _time(m: Any, field: str = "time_unix_nanos") -> Any:
    return from_nanos(getattr(m, field)) if m.HasField(field) else None


def collect_request_from_pb(r: Any) -> CollectRequest:
    return CollectRequest(_time(r), timedelta(microseconds=r.interval_nanos / 1000))


def scope_from_pb(r: Any) -> Scope:
    try:
        return Scope([ipaddress.ip_network(p, strict=False) for p in r.prefixes])
    except ValueError as e:
        raise errors.InvalidConfig(f"scope: {e}") from None


def sample_to_pb(s: Sample) -> Any:
    return _Sample(metric=s.metric, unit=s.unit, type=s.type, labels=s.labels, time_unix_nanos=s.time, value=s.value)


def sighting_to_pb(s: Sighting) -> Any:
    return _Sighting(time_unix_nanos=s.time, ip="" if s.ip is None else str(s.ip), mac=s.mac, hostname=s.hostname,
                     facts=s.facts, confidence=s.confidence, source=s.source, packet=s.packet)


def finding_to_pb(f: Finding) -> Any:
    out = _Finding(id=f.id, detector=f.detector, rule=f.rule, severity=f.severity, risk=f.risk, confidence=f.confidence,
                   techniques=list(f.techniques), src=f.src, dst=f.dst, packets=f.packets, features=f.features,
                   summary=f.summary)
    if f.start is not None:
        out.start_unix_nanos = f.start
    if f.end is not None:
        out.end_unix_nanos = f.end
    for r in f.flows:
        out.flows.add(id=r.id, community_id=clean(r.community_id), proto=clean(r.proto), src=clean(r.src), dst=clean(r.dst))
    return out


def finding_from_pb(f: Any) -> Finding:
    return Finding(
        rule=f.rule, severity=f.severity, risk=f.risk, confidence=f.confidence, summary=f.summary, src=f.src, dst=f.dst,
        start=_time(f, "start_unix_nanos"), end=_time(f, "end_unix_nanos"), techniques=list(f.techniques),
        packets=list(f.packets), flows=[FlowRef(r.id, r.community_id, r.proto, r.src, r.dst) for r in f.flows],
        features=dict(f.features), id=f.id, detector=f.detector)


def notice_from_pb(n: Any) -> Notice:
    alert = finding_from_pb(n.alert) if n.HasField("alert") else None
    return Notice(n.id, n.event, n.severity, n.title, n.text, _time(n), n.url, alert, n.alert_id,
                  [Sample(s.metric, s.value, s.unit, s.type, dict(s.labels), _time(s)) for s in n.samples])


def receipt_to_pb(r: Receipt) -> Any:
    return message("Receipt")(foreign_id=r.foreign_id, url=r.url, undoable=r.undoable)


def receipt_from_pb(r: Any) -> Receipt:
    return Receipt(r.foreign_id, r.url, r.undoable)


def status_to_pb(s: DeliveryStatus) -> Any:
    out = message("StatusResponse")(state=s.state, text=s.text)
    if s.time is not None:
        out.time_unix_nanos = s.time
    return out
