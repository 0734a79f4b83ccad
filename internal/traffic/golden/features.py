"""Computes the features of flows a second time, from the definitions in docs/features.md in their plainest form: all packets
of a flow at once, two passes, numpy. Which packets are a flow's, and who began, is taken from the rows to check: packets of
a conversation go to its flows in order. All else is computed.

    features.py CAPTURE ROWS.csv [CAPTURE ROWS.csv ...]

ROWS.csv is what `picket flows --features` prints. Prints one JSON object: how many flows and values were compared, what
differs, and which flows could not be compared."""

from __future__ import annotations

import csv
import ipaddress
import json
import math
import sys
from collections import defaultdict
from typing import Any, Iterable, Sequence

import numpy as np
from packets import Packet, packets

FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
PAIRS = {1: {0: 8, 9: 10, 13: 14, 15: 16, 17: 18}, 58: {k: k + 1 for k in (128, 130, 133, 135, 139, 144)}}
for pairs in PAIRS.values():
    pairs.update({v: k for k, v in list(pairs.items())})


def stats(name: str, values: Sequence[float], scale: float = 1) -> dict[str, float]:
    """Minimum, maximum, mean and standard deviation of the population."""
    if not len(values):
        return {f"{name}_{k}": 0.0 for k in ("min", "max", "mean", "std")}
    v = np.array(values, np.longdouble) / scale
    mean = v.mean()
    return {f"{name}_min": v.min(), f"{name}_max": v.max(), f"{name}_mean": mean, f"{name}_std": np.sqrt(((v - mean) ** 2).mean())}


def gaps(list_: Sequence[Packet]) -> list[int]:
    return [max(0, b.time - a.time) for a, b in zip(list_, list_[1:])]


def per(a: float, b: float) -> float:
    return a / b if b else 0.0


def entropy(first: Packet | None) -> tuple[float, float]:
    data = first.body[:128] if first else b""
    if not data:
        return 0.0, 0.0
    _, counts = np.unique(np.frombuffer(data, np.uint8), return_counts=True)
    p = counts / len(data)
    text = sum(c in b"\t\n\r" or 0x20 <= c <= 0x7E for c in data)
    return float(-(p * np.log2(p)).sum()), text / len(data)


def segments(list_: Iterable[Packet]) -> tuple[int, int, int]:
    """Retransmissions, segments out of order, and bytes that are missing, in numbers without a wrap."""
    again = late = missing = 0
    expected: int | None = None
    gap = (0, 0)
    for p in list_:
        size = p.payload + (p.flags >> 1 & 1) + (p.flags & 1)
        if not p.whole or p.short or p.flags & 4 or not size:
            continue
        if expected is None:
            expected = p.seq + size
            continue
        begin = expected + ((p.seq - expected + 2**31) % 2**32 - 2**31)  # the nearest of its readings
        if begin > expected:
            missing += begin - expected
            gap = (expected, begin)
        elif begin == expected - 1 and size == 1 and not p.flags & 3:
            continue
        elif begin < expected:
            if gap[0] <= begin < gap[1]:
                late += 1
                filled = min(begin + size, gap[1])
                missing -= filled - begin
                gap = (filled, gap[1]) if begin == gap[0] else (gap[0], begin)
            else:
                again += 1
        expected = max(expected, begin + size)
    return again, late, missing


def bulks(list_: Sequence[tuple[Packet, bool]], forward: bool) -> dict[str, float]:
    runs: list[list[Packet]] = []
    before: tuple[Packet, bool] | None = None
    for p, f in list_:
        if before is None or f != before[1] or p.time - before[0].time > 10**9:
            runs.append([])
        if f == forward:
            runs[-1].append(p)
        before = p, f
    runs = [r for r in runs if len(r) >= 4]
    time = sum(sum(gaps(r)) for r in runs)
    total = sum(p.payload for r in runs for p in r)
    d = "fwd" if forward else "rev"
    return {f"{d}_bulks": len(runs), f"{d}_bulk_packets": per(sum(map(len, runs)), len(runs)), f"{d}_bulk_bytes": per(total, len(runs)),
            f"{d}_bulk_rate": per(total, time / 10**9)}


def direction(d: str, list_: Sequence[Packet]) -> dict[str, float]:
    """What is computed of one direction alone."""
    size, payload = sum(p.length for p in list_), sum(p.payload for p in list_)
    whole = [p for p in list_ if p.whole and not p.short]
    data = [p for p in list_ if p.payload]
    again, late, missing = segments(list_)
    out: dict[str, float] = {
        "packets": len(list_), "bytes": size, "payload": payload, "header_bytes": size - payload, "data_packets": len(data),
        "small_packets": sum(p.payload < 64 for p in data), "goodput": per(payload, size),
        "window_first": whole[0].window if whole else 0, "window_min": min((p.window for p in whole), default=0),
        "window_max": max((p.window for p in whole), default=0),
        "zero_windows": sum(p.window == 0 and not p.flags & 7 for p in whole),
        "ttl_min": min((p.ttl for p in list_), default=0), "ttl_max": max((p.ttl for p in list_), default=0),
        "retransmits": again, "out_of_order": late, "missed_bytes": missing,
        "duration": max(0, list_[-1].time - list_[0].time) / 10**9 if list_ else 0,
    }
    out["entropy"], out["printable"] = entropy(data[0] if data else None)
    for bit, name in enumerate(FLAGS):
        out[name + "_count"] = sum(p.flags >> bit & 1 for p in list_ if p.proto == 6)
    out |= stats("len", [p.length for p in list_])
    out |= stats("payload", [p.payload for p in list_])
    out |= stats("iat", gaps(list_), 10**9)
    return {f"{d}_{k}": v for k, v in out.items()}


def handshake(list_: Sequence[tuple[Packet, bool]]) -> dict[str, float]:
    out = {"handshake_rtt": 0.0, "handshake_ack": 0.0}
    if list_[0][0].proto != 6:
        return out
    answer = next((i for i, (p, f) in enumerate(list_) if not f and p.flags & 0x12 == 0x12), None)
    if answer is None:
        return out
    at = list_[answer][0].time
    syns = [p.time for p, f in list_[:answer] if f and p.flags & 0x12 == 2]
    acks = [p.time for p, f in list_[answer + 1 :] if f and p.flags & 0x16 == 0x10]
    if syns:
        out["handshake_rtt"] = max(0, at - syns[-1]) / 10**9
    if acks:
        out["handshake_ack"] = max(0, acks[0] - at) / 10**9
    return out


def features(list_: Sequence[tuple[Packet, bool]]) -> dict[str, float]:
    """All features of the packets of a flow, each with whether it goes forward."""
    every = [p for p, _ in list_]
    fwd, rev = [p for p, f in list_ if f], [p for p, f in list_ if not f]
    out = direction("fwd", fwd) | direction("rev", rev) | handshake(list_)
    start, end = min(p.time for p in every), max(p.time for p in every)
    out["duration"] = (end - start) / 10**9
    for name in FLAGS:
        out[name + "_count"] = out[f"fwd_{name}_count"] + out[f"rev_{name}_count"]
    for d, p, b in (("", len(every), sum(q.length for q in every)), ("fwd_", len(fwd), out["fwd_bytes"]), ("rev_", len(rev), out["rev_bytes"])):
        out[d + "packet_rate"], out[d + "byte_rate"] = per(p, out["duration"]), per(b, out["duration"])
    out["packet_ratio"], out["byte_ratio"] = per(len(rev), len(fwd)), per(out["rev_bytes"], out["fwd_bytes"])
    between = gaps(every)
    out |= stats("len", [p.length for p in every]) | stats("iat", between, 10**9)
    active = [0]
    for g in between:
        if g > 5 * 10**9:
            active.append(0)
        else:
            active[-1] += g
    out["active_periods"] = len(active)
    out |= stats("active", active, 10**9) | stats("idle", [g for g in between if g > 5 * 10**9], 10**9)
    data = [(p, f) for p, f in list_ if p.payload]
    out |= bulks(data, True) | bulks(data, False)
    out["turns"] = sum(a[1] != b[1] for a, b in zip(data, data[1:]))
    for i in range(8):
        out[f"first_len_{i + 1}"] = (data[i][0].payload if data[i][1] else -data[i][0].payload) if i < len(data) else 0
    firsts = [next((p.time for p, f in data if f == way), None) for way in (True, False)]
    seen = [t for t in firsts if t is not None]
    out["first_data"] = (min(seen) - start) / 10**9 if seen else 0
    out["response_time"] = max(0, seen[1] - seen[0]) / 10**9 if len(seen) == 2 else 0
    return out


# --- flows ---


def endpoints(proto: int, src: bytes, sport: int, dst: bytes, dport: int) -> tuple[Any, Any]:
    """The two ends; of ICMP a message and its answer get ends that are the same the other way round."""
    if proto in PAIRS:
        other = PAIRS[proto].get(sport)
        dport = dport | 0x100 if other is None else other
    return (src, sport), (dst, dport)


def conversation(tunnel: tuple[str, int], vlan: int, proto: int, a: Any, b: Any) -> Any:
    return tunnel, vlan, proto, *sorted((a, b))


def check(capture: str, rows: str, report: dict[str, Any]) -> None:
    talks: dict[Any, list[tuple[Packet, Any]]] = defaultdict(list)
    for p in packets(capture):
        a, b = endpoints(p.proto, p.src, p.sport, p.dst, p.dport)
        talks[conversation(p.tunnels[-1] if p.tunnels else ("", 0), p.vlan, p.proto, a, b)].append((p, a))
    flows: dict[Any, list[dict[str, str]]] = defaultdict(list)
    with open(rows, newline="") as f:
        for row in csv.DictReader(f):
            src, dst = ipaddress.ip_address(row["src"]).packed, ipaddress.ip_address(row["dst"]).packed
            a, b = endpoints(int(row["proto"]), src, int(row["src_port"]), dst, int(row["dst_port"]))
            row["began"] = a  # type: ignore[assignment]
            flows[conversation((row["tunnel"], int(row["tunnel_id"])), int(row["vlan"]), int(row["proto"]), a, b)].append(row)
    name = capture.rsplit("/", 1)[-1]
    for key, found in flows.items():
        seen, at = talks.pop(key, []), 0
        counts = [int(r["fwd_packets"]) + int(r["rev_packets"]) for r in found]
        if sum(counts) != len(seen):
            report["other packets"].append(f"{name}: {len(found)} flows of {sum(counts)} packets, here {len(seen)}: {key}")
            continue
        for row, n in sorted(zip(found, counts), key=lambda r: int(r[0]["id"])):
            part, at = seen[at : at + n], at + n
            compare(name, row, part, report)
    report["other packets"] += [f"{name}: no flow for {len(v)} packets of {k}" for k, v in talks.items()]


def compare(name: str, row: dict[str, Any], part: list[tuple[Packet, Any]], report: dict[str, Any]) -> None:
    if [int(n) for n in row["first_packets"].split()] != [p.number for p, _ in part[:8]]:
        report["other packets"].append(f"{name} flow {row['id']}: packets {row['first_packets']}, here {[p.number for p, _ in part[:8]]}")
        return
    report["flows"] += 1
    for column, want in features([(p, a == row["began"]) for p, a in part]).items():
        have = float(row[column])
        report["columns"].add(column)
        report["values"] += 1
        if not math.isclose(have, float(want), rel_tol=1e-9, abs_tol=1e-12):
            report["differences"].append(f"{name} flow {row['id']}: {column} is {have!r}, here {float(want)!r}")


def main(args: list[str]) -> None:
    report: dict[str, Any] = {"flows": 0, "values": 0, "columns": set(), "differences": [], "other packets": []}
    for capture, rows in zip(args[::2], args[1::2]):
        check(capture, rows, report)
    report["columns"] = sorted(report["columns"])
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main(sys.argv[1:])
