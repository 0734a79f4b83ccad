"""Reads capture files: a second, plain implementation that shares no code with Picket. In goes a pcap or pcapng file, out
come its packets as they are."""

from __future__ import annotations

import gzip
import struct
from typing import Iterator


def frames(path: str) -> Iterator[tuple[int, int, bytes, int]]:
    """Link type, time in ns, captured bytes and length on the wire of each packet."""
    data = open(path, "rb").read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    yield from pcapng(data) if data[:4] == b"\x0a\x0d\x0d\x0a" else pcap(data)


def pcap(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    for order in "<>":
        (magic,) = struct.unpack_from(order + "I", data)
        if magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34):
            break
    else:
        return
    unit = 1 if magic == 0xA1B23C4D else 1000
    head = 24 if magic == 0xA1B2CD34 else 16
    (link,) = struct.unpack_from(order + "I", data, 20)
    at = 24
    while at + head <= len(data):
        sec, frac, kept, wire = struct.unpack_from(order + "IIII", data, at)
        at += head
        if at + kept > len(data):
            return
        yield link & 0xFFFF, sec * 10**9 + frac * unit, data[at : at + kept], wire
        at += kept


def pcapng(data: bytes) -> Iterator[tuple[int, int, bytes, int]]:
    at, order, interfaces = 0, "<", []
    while at + 12 <= len(data):
        if data[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if data[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, size = struct.unpack_from(order + "II", data, at)
        if size < 12 or at + size > len(data):
            return
        body = data[at + 8 : at + size - 4]
        at += size
        if kind == 1:
            link, _, snap = struct.unpack_from(order + "HHI", body)
            interfaces.append((link, snap, *resolution(body[8:], order)))
        elif kind in (6, 2):
            if kind == 6:
                which, high, low, kept, wire = struct.unpack_from(order + "IIIII", body)
            else:
                which, _, high, low, kept, wire = struct.unpack_from(order + "HHIIII", body)
            if which >= len(interfaces) or 20 + kept > len(body):
                return
            link, _, per_second, offset = interfaces[which]
            yield link, (high << 32 | low) * 10**9 // per_second + offset * 10**9, body[20 : 20 + kept], wire
        elif kind == 3 and interfaces:
            (wire,) = struct.unpack_from(order + "I", body)
            kept = min(wire, len(body) - 4, interfaces[0][1] or wire)
            yield interfaces[0][0], 0, body[4 : 4 + kept], wire


def resolution(options: bytes, order: str) -> tuple[int, int]:
    per_second, offset, at = 10**6, 0, 0
    while at + 4 <= len(options):
        code, n = struct.unpack_from(order + "HH", options, at)
        value = options[at + 4 : at + 4 + n]
        if code == 0:
            break
        if code == 9 and n == 1:
            per_second = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        if code == 14 and n == 8:
            (offset,) = struct.unpack(order + "q", value)
        at += 4 + (n + 3 & ~3)
    return per_second, offset
