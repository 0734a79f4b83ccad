"""Decodes packets: a second, plain implementation that shares no code with Picket. In goes a capture, out come its IP packets
as Packet. It follows docs and RFCs, in the words of internal/traffic/README.md: the innermost IP packet
counts, and lengths are those of its header."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator

from captures import frames


@dataclass
class Packet:
    number: int = 0
    time: int = 0  # ns
    src: bytes = b""
    dst: bytes = b""
    sport: int = 0
    dport: int = 0
    proto: int = 0
    vlan: int = 0
    tunnels: tuple[tuple[str, int], ...] = ()
    length: int = 0
    payload: int = 0
    flags: int = 0
    seq: int = 0
    window: int = 0
    ttl: int = 0
    whole: bool = False  # TCP header
    short: bool = False
    body: bytes = b""
    fragment: Any = None  # (key, offset)


class NoFlow(Exception):
    """The packet belongs to no flow."""


# --- links ---


def u16(b: bytes, at: int = 0) -> int:
    return int.from_bytes(b[at : at + 2], "big")


def need(b: bytes, n: int) -> None:
    if len(b) < n:
        raise NoFlow


def link(p: Packet, kind: int, b: bytes, n: int) -> Packet:
    if kind == 1:
        return ethernet(p, b, n)
    if kind in (12, 14, 101, 228, 229):
        return ip(p, b, n)
    if kind in (0, 108):
        need(b, 4)
        family = min(int.from_bytes(b[:4], "little"), int.from_bytes(b[:4], "big"))
        if family == 2:
            return ipv4(p, b[4:], n - 4)
        if family in (10, 24, 28, 30):
            return ipv6(p, b[4:], n - 4)
        raise NoFlow
    if kind == 113:
        need(b, 16)
        return ethertype(p, u16(b, 14), b[16:], n - 16)
    if kind == 276:
        need(b, 20)
        return ethertype(p, u16(b, 0), b[20:], n - 20)
    if kind in (9, 50):
        return hdlc(p, b, n) if kind == 50 and b[:1] in (b"\x0f", b"\x8f") else ppp(p, b, n)
    if kind == 51:
        return pppoe(p, b, n)
    if kind == 104:
        return hdlc(p, b, n)
    if kind in (105, 127, 192):
        return radio(p, kind, b, n)
    raise NoFlow


def hdlc(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 4)
    return ethertype(p, u16(b, 2), b[4:], n - 4)


def radio(p: Packet, kind: int, b: bytes, n: int) -> Packet:
    flags = 0
    if kind != 105:
        need(b, 8)
        size = int.from_bytes(b[2:4], "little")
        if size < 8 or size > len(b):
            raise NoFlow
        if kind == 192:
            return link(p, int.from_bytes(b[4:8], "little"), b[size:], n - size)
        words = 1
        while b[4 * words + 3] & 0x80:
            words += 1
        at = 4 + 4 * words
        if b[4] & 1:
            at = (at + 7 & ~7) + 8
        flags = b[at] if b[4] & 2 and at < size else 0
        if flags & 0x40:
            raise NoFlow
        b, n = b[size:], n - size
    need(b, 2)
    control, bits = b[0], b[1]
    if control & 0x0F != 8 or control & 0x40 or bits & 0x40:
        raise NoFlow
    size = 30 if bits & 3 == 3 else 24
    aggregated = False
    if control & 0x80:
        need(b, size + 1)
        aggregated = bool(b[size] & 0x80)
        size += 6 if bits & 0x80 else 2
    if flags & 0x20:
        size = size + 3 & ~3
    if flags & 0x10 and n >= size + 4:
        n -= 4
        b = b[:n]
    need(b, size)
    if b[22] & 0x0F:
        raise NoFlow
    b, n = b[size:], n - size
    return llc(p, b[14:], n - 14) if aggregated else llc(p, b, n)


def llc(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 8)
    if b[:3] != b"\xaa\xaa\x03" or b[3:6] not in (b"\0\0\0", b"\0\0\xf8") or u16(b, 6) < 0x600:
        raise NoFlow
    return ethertype(p, u16(b, 6), b[8:], n - 8)


def ethernet(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 14)
    return ethertype(p, u16(b, 12), b[14:], n - 14)


def ethertype(p: Packet, kind: int, b: bytes, n: int) -> Packet:
    if kind == 0x800:
        return ipv4(p, b, n)
    if kind == 0x86DD:
        return ipv6(p, b, n)
    if kind in (0x8100, 0x88A8, 0x9100):
        need(b, 4)
        tag = u16(b) & 0xFFF
        if p.vlan:
            p.tunnels += (("tag", tag),)
        else:
            p.vlan = tag
        return ethertype(p, u16(b, 2), b[4:], n - 4)
    if kind in (0x8847, 0x8848):
        return mpls(p, b, n)
    if kind == 0x8864:
        return pppoe(p, b, n)
    if kind == 0x88E7:
        need(b, 18)
        return inside(p, "backbone", int.from_bytes(b[1:4], "big"), ethernet, b[4:], n - 4)
    if kind < 0x600:
        return llc(p, b[:kind], min(n, kind))
    raise NoFlow


def mpls(p: Packet, b: bytes, n: int) -> Packet:
    while True:
        need(b, 4)
        bottom = b[2] & 1
        b, n = b[4:], n - 4
        if bottom:
            break
    need(b, 1)
    version = b[0] >> 4
    if version in (4, 6):
        return ip(p, b, n)
    if version == 1:
        raise NoFlow
    follows = (0x800, 0x86DD, 0x806, 0x8100, 0x88A8, 0x9100, 0x8847, 0x8848, 0x8864, 0x88E7)
    if len(b) >= 18 and version == 0 and u16(b, 16) in follows:
        b, n = b[4:], n - 4
    return inside(p, "pseudowire", 0, ethernet, b, n)


def pppoe(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 8)
    if u16(b, 4) < 2:
        raise NoFlow
    n = min(n - 8, u16(b, 4) - 2)
    return ppp_kind(p, u16(b, 6), b[8 : 8 + n], n)


def ppp(p: Packet, b: bytes, n: int) -> Packet:
    if b[:2] == b"\xff\x03":
        b, n = b[2:], n - 2
    if b[:1] and b[0] & 1:
        return ppp_kind(p, b[0], b[1:], n - 1)
    need(b, 2)
    return ppp_kind(p, u16(b), b[2:], n - 2)


def ppp_kind(p: Packet, kind: int, b: bytes, n: int) -> Packet:
    ways: dict[int, Callable[[Packet, bytes, int], Packet]] = {0x21: ipv4, 0x57: ipv6, 0x281: mpls, 0x283: mpls}
    if kind not in ways:
        raise NoFlow
    return ways[kind](p, b, n)


# --- IP ---


def ip(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 1)
    if b[0] >> 4 == 4:
        return ipv4(p, b, n)
    return ipv6(p, b, n)


def ipv4(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 20)
    head, total = (b[0] & 15) * 4, u16(b, 2) or n
    if b[0] >> 4 != 4 or head < 20 or total < head or len(b) < head:
        raise NoFlow
    p.src, p.dst, p.proto, p.ttl = b[12:16], b[16:20], b[9], b[8]
    p.length = min(total, n)
    body, rest = b[head : p.length], p.length - head
    part = u16(b, 6) & 0x3FFF
    if part:
        if p.fragment:
            raise NoFlow
        p.fragment = ((p.vlan, p.tunnels, p.src, p.dst, u16(b, 4), p.proto, 4), part & 0x1FFF)
        if part & 0x1FFF:
            p.payload = rest
            return p
    return transport(p, body, rest)


def ipv6(p: Packet, b: bytes, n: int) -> Packet:
    need(b, 40)
    if b[0] >> 4 != 6:
        raise NoFlow
    total = u16(b, 4) + 40
    if total == 40 and n > 40:
        total = n
    p.src, p.dst, p.ttl = b[8:24], b[24:40], b[7]
    p.length = min(total, n)
    kind, b, rest = b[6], b[40 : p.length], p.length - 40
    for _ in range(16):
        p.proto = kind
        if kind not in (0, 43, 44, 51, 60, 135, 139, 140):
            return transport(p, b, rest)
        size = 8
        if len(b) < 8:
            break
        if kind == 44:
            if u16(b, 2) & 0xFFF9:
                if p.fragment:
                    raise NoFlow
                p.fragment = ((p.vlan, p.tunnels, p.src, p.dst, b[4:8], 0, 6), u16(b, 2) >> 3)
                if u16(b, 2) >> 3:
                    p.proto, p.payload = b[0], rest - 8
                    return p
        elif kind == 51:
            size = (b[1] + 2) * 4
        else:
            size = (b[1] + 1) * 8
        if size > len(b) or size > rest:
            break
        kind, b, rest = b[0], b[size:], rest - size
    p.short = True
    return p


def transport(p: Packet, b: bytes, n: int) -> Packet:
    if p.proto in (6, 17, 132):
        if len(b) < 4:
            p.short = True
            return p
        p.sport, p.dport = u16(b), u16(b, 2)
    if p.proto == 6:
        if len(b) < 14:
            p.short = True
            return p
        p.seq, p.flags = int.from_bytes(b[4:8], "big"), b[13]
        head = (b[12] >> 4) * 4
        if head < 20 or head > n:
            p.short = True
            return p
        p.whole = len(b) >= 20
        p.window = u16(b, 14) if p.whole else 0
        p.payload, p.body = n - head, b[head:] if p.whole else b""
    elif p.proto == 17:
        if n < 8:
            p.short = len(b) < 8
            return p
        p.payload, p.body = n - 8, b[8:]
        if len(b) >= 16:
            return udp_tunnel(p, b[8:], n - 8)
    elif p.proto in (1, 58):
        if len(b) < 2:
            p.short = True
            return p
        p.sport, p.dport = b[0], b[1]
        if n > 8:
            p.payload, p.body = n - 8, b[8:]
    elif p.proto == 132:
        if n < 12:
            p.short = True
            return p
        p.payload, p.body = n - 12, b[12:]
    else:
        p.payload, p.body = n, b
        return ip_tunnel(p, b, n)
    return p


# --- tunnels ---


def inside(p: Packet, kind: str, net: int, way: Callable[[Packet, bytes, int], Packet], b: bytes, n: int) -> Packet:
    """The packet in a tunnel; NoFlow when there is none that counts."""
    if len([t for t in p.tunnels if t[0] != "tag"]) == 8:
        raise NoFlow
    q = replace(p, sport=0, dport=0, payload=0, body=b"", flags=0, tunnels=p.tunnels + ((kind, net),))
    return way(q, b, n)


def either(p: Packet, kind: str, net: int, way: Callable[[Packet, bytes, int], Packet], b: bytes, n: int) -> Packet:
    """The packet in a tunnel, else the one around it."""
    try:
        return inside(p, kind, net, way, b, n)
    except NoFlow:
        return p


def ip_tunnel(p: Packet, b: bytes, n: int) -> Packet:
    if p.proto in (4, 41):
        return either(p, "ip", 0, ipv4 if p.proto == 4 else ipv6, b, n)
    if p.proto == 97 and len(b) >= 2 and b[0] >> 4 == 3:
        return either(p, "etherip", 0, ethernet, b[2:], n - 2)
    if p.proto == 137:
        return either(p, "mpls", 0, mpls, b, n)
    if p.proto != 47 or len(b) < 4:
        return p
    bits, kind = u16(b), u16(b, 2)
    at, key = 4 + (4 if bits & 0x8000 else 0), 0
    if bits & 0x2000:
        if len(b) < at + 4:
            return p
        key, at = int.from_bytes(b[at : at + 4], "big"), at + 4
    at += 4 if bits & 0x1000 else 0
    at += 4 if bits & 7 == 1 and bits & 0x80 else 0
    if bits & 0x4000 or bits & 7 > 1 or len(b) < at:
        return p
    sequence, b, n = bits & 0x1000, b[at:], n - at
    if bits & 7 == 1:
        return either(p, "pptp", 0, ppp, b, n) if kind == 0x880B else p
    if kind == 0x6558:
        return either(p, "gre", key >> 8, ethernet, b, n)
    if kind in (0x88BE, 0x22EB):
        skip = 8 if sequence else 0
        if kind == 0x22EB:
            skip = 20 if len(b) >= 12 and b[11] & 1 else 12
        return either(p, "erspan", 0, ethernet, b[skip:], n - skip) if len(b) >= skip else p
    return either(p, "gre", key, lambda q, b, n: ethertype(q, kind, b, n), b, n)


def udp_tunnel(p: Packet, b: bytes, n: int) -> Packet:
    net = int.from_bytes(b[4:7], "big")
    if p.dport in (4789, 8472):
        return either(p, "vxlan", net, ethernet, b[8:], n - 8) if b[0] & 0x7F == 8 and b[7] == 0 else p
    if p.dport == 4790:
        if not b[0] & 8 or b[0] & 0x30 or b[7]:
            return p
        way = {1: ipv4, 2: ipv6, 3: ethernet}.get(b[3]) if b[0] & 4 else ethernet
        return either(p, "vxlan", net, way, b[8:], n - 8) if way else p
    if p.dport == 6081:
        at, kind = 8 + (b[0] & 0x3F) * 4, u16(b, 2)
        if b[0] >> 6 or len(b) < at:
            return p
        if kind == 0x6558:
            return either(p, "geneve", net, ethernet, b[at:], n - at)
        return either(p, "geneve", net, lambda q, b, n: ethertype(q, kind, b, n), b[at:], n - at)
    if p.dport == 2152:
        return gtp(p, b, n)
    if p.dport == 6635:
        return either(p, "mpls", 0, mpls, b, n)
    return teredo(p, b, n) if len(p.src) == 4 else p


def gtp(p: Packet, b: bytes, n: int) -> Packet:
    if b[0] & 0xF0 != 0x30 or b[1] != 255:
        return p
    at = 12 if b[0] & 7 else 8
    if len(b) < at:
        return p
    if b[0] & 4:
        for _ in range(5):
            if b[at - 1] == 0:
                break
            if len(b) <= at or b[at] == 0 or len(b) < at + b[at] * 4:
                return p
            at += b[at] * 4
        else:
            return p
    return either(p, "gtp", 0, ip, b[at:], n - at)


def teredo(p: Packet, b: bytes, n: int) -> Packet:
    known, at = 3544 in (p.sport, p.dport), 0
    if known:
        if b[:2] == b"\0\1":
            at = 13 + b[2] + b[3]
        if b[at : at + 2] == b"\0\0" and len(b) >= at + 8:
            at += 8
    b, n = b[at:], n - at
    if len(b) < 40 or b[0] >> 4 != 6 or u16(b, 4) + 40 != n:
        return p
    if not known and b"\x20\x01\0\0" not in (b[8:12], b[24:28]):
        return p
    return either(p, "teredo", 0, ipv6, b, n)


# --- fragments ---


def packets(path: str) -> Iterator[Packet]:
    """The packets that belong to flows. A fragment has the ports of the first one, and comes when that is known."""
    first: dict[Any, Packet] = {}
    waiting: dict[Any, list[Packet]] = {}
    for number, (kind, time, data, wire) in enumerate(frames(path), 1):
        try:
            p = link(Packet(number=number, time=time), kind, data, wire)
        except NoFlow:
            continue
        if p.fragment is None:
            yield p
            continue
        key, offset = p.fragment
        p.whole, p.body = False, b""  # fragments are not looked into
        if offset == 0:
            yield p
            first[key] = p
        elif key not in first:
            waiting.setdefault(key, []).append(p)
            continue
        for q in waiting.pop(key, []) + ([p] if offset else []):
            yield replace(first[key], number=q.number, time=q.time, length=q.length, payload=q.payload, flags=0, short=True, whole=False, body=b"")
