"""Record frames as numpy arrays. In goes a frame (proto/records describes it byte by byte), out comes a structured
array that looks at the same memory; texts, lists and addresses are read from it when they are asked for.

A frame comes from another process, so nothing in it is believed: sizes, offsets and the checksum are checked first.
"""

from __future__ import annotations

import functools
import ipaddress
import struct
from dataclasses import dataclass
from typing import Any, Iterable, Iterator, Sequence

import numpy as np

from . import _rows
from .types import GAUGE, Address, FlowRef, Sample, from_nanos, nanos, unmapped

MAX_FRAME = 16 << 20  # bytes
HEADER = 32

_MAX_ROW = 64 << 10
SCHEMAS: dict[str, Any] = _rows.SCHEMAS
_CRC_AT = 28
_NO_TIME = -(1 << 63)
_HEAD = struct.Struct("<4sHHIIIII")  # up to the checksum

_SCALARS = {"u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "i64": "<i8", "f64": "<f8", "bool": "?",
            "time": "<M8[ns]", "enum": "u1"}
_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "i64": 8, "f64": 8, "bool": 1, "time": 8, "enum": 1, "addr": 16,
          "string": 8, "u64list": 8, "bytes": 8, "textmap": 8, "textlist": 8}
_REF = np.dtype([("at", "<u4"), ("len", "<u4")])

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
END_REASONS = ("none", "fin", "rst", "idle", "active", "eviction", "end")


class FrameError(ValueError):
    """The bytes are not a valid record frame."""


@functools.lru_cache(maxsize=64)
def _dtype(schema: str, row_size: int) -> np.dtype[Any]:
    """The numpy type of rows of a size. Fields that do not fit belong to longer rows."""
    names: list[str] = []
    formats: list[Any] = []
    offsets: list[int] = []
    for name, type_, at, kind_at, _ in SCHEMAS[schema]["fields"]:
        if max(at + _SIZES[type_], kind_at + 1) > row_size:
            continue
        names.append(name)
        offsets.append(at)
        formats.append(("u1", (16,)) if type_ == "addr" else _SCALARS.get(type_, _REF))
        if kind_at >= 0:
            names.append(name + "_kind")
            offsets.append(kind_at)
            formats.append("u1")
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": row_size})


_DTYPES = {name: _dtype(name, s["row_size"]) for name, s in SCHEMAS.items()}
_TYPES = {name: {f[0]: f[1] for f in s["fields"]} for name, s in SCHEMAS.items()}
_BY_ID = {s["id"]: name for name, s in SCHEMAS.items()}

# FLOW and PACKET are the numpy types of the rows.
FLOW = _DTYPES["flow"]
PACKET = _DTYPES["packet"]
SAMPLE = _DTYPES["sample"]

# FACTS are the schemas of the kinds of facts, by the names that a subscription has for them.
FACTS: dict[str, str] = {s["facts"]: name for name, s in SCHEMAS.items() if "facts" in s}


class Rows(np.ndarray):
    """A structured array of rows with the heap that their texts and lists lie in. rows["name"] is a plain column, a
    slice or a mask gives Rows again. The memory is only valid during the call, and cannot be written."""

    heap: memoryview
    schema: str

    def __array_finalize__(self, obj: Any) -> None:
        self.heap = getattr(obj, "heap", memoryview(b""))
        self.schema = getattr(obj, "schema", "")

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (str, list)) and (isinstance(key, str) or all(isinstance(k, str) for k in key)):
            return self.view(np.ndarray)[key]
        return super().__getitem__(key)

    def text(self, name: str, i: int) -> str:
        """A string field of row i."""
        return str(self._bytes(self._ref(name, i), 1), "utf-8", "replace")

    def raw(self, name: str, i: int) -> memoryview:
        """A field of bytes of row i, without a copy."""
        return self._bytes(self._ref(name, i), 1)

    def u64s(self, name: str, i: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        """A list of row i, without a copy."""
        return np.frombuffer(self._bytes(self._ref(name, i), 8), "<u8")

    def texts(self, name: str, i: int) -> list[str]:
        """A list of texts of row i."""
        raw = self._bytes(self._ref(name, i), 8)
        return [str(self._bytes(ref, 1), "utf-8", "replace") for ref in struct.iter_unpack("<II", raw)]

    def map(self, name: str, i: int) -> dict[str, str]:
        """Names and values of row i."""
        raw = self._bytes(self._ref(name, i), 16)
        out = {}
        for key_at, key_len, at, length in struct.iter_unpack("<IIII", raw):
            key = str(self._bytes((key_at, key_len), 1), "utf-8", "replace")
            out[key] = str(self._bytes((at, length), 1), "utf-8", "replace")
        return out

    def addr(self, name: str, i: int) -> Address | None:
        """An address of row i, None when there is none."""
        row = self.view(np.ndarray)[i]
        kind, raw = int(row[name + "_kind"]), row[name].tobytes()
        if kind == 4:
            return ipaddress.IPv4Address(raw[12:])
        return ipaddress.IPv6Address(raw) if kind == 6 else None

    def refs(self, i: int) -> list[FlowRef]:
        """Names the flow of fact i for the evidence of a finding; empty below IP, where there is none. The flow is not
        closed yet, so its community id is not known."""
        row = self.view(np.ndarray)[i]
        if not row["flow"]:
            return []
        return [FlowRef(int(row["flow"]), "", PROTOCOLS.get(int(row["proto"]), "ip"),
                        _endpoint(self.addr("client", i), int(row["client_port"])),
                        _endpoint(self.addr("server", i), int(row["server_port"])))]

    def _ref(self, name: str, i: int) -> tuple[int, int]:
        at, length = self.view(np.ndarray)[i][name].item()
        return at, length

    def _bytes(self, ref: tuple[int, int], size: int) -> memoryview:
        at, n = ref
        if n and at + n * size > len(self.heap):
            raise FrameError(f"a reference to {n} x {size} bytes at {at} leaves the heap of {len(self.heap)}")
        return self.heap[at : at + n * size] if n else self.heap[:0]


class Flows(Rows):
    """The flows of a batch: bidirectional conversations, src is the initiator. The columns are those of
    docs/features.md, for example flows["fwd_bytes"], the further features only with a Subscription that asks for them; times
    are datetime64[ns]."""

    def src(self, i: int) -> Address | None:
        return self.addr("src", i)

    def dst(self, i: int) -> Address | None:
        return self.addr("dst", i)

    def community_id(self, i: int) -> str:
        return self.text("community_id", i)

    def packets(self, i: int) -> list[int]:
        """The numbers of its first packets in the capture."""
        return [int(n) for n in self.u64s("packets", i)]

    def duration(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Seconds from the first to the last packet of each flow, 0 where a time is missing."""
        d = (self["end"] - self["start"]) / np.timedelta64(1, "s")
        return np.asarray(np.nan_to_num(d), np.float64)

    def matrix(self, columns: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The columns side by side as float64, for a model. "duration" is one of them."""
        out = np.empty((len(self), len(columns)))
        for k, name in enumerate(columns):
            out[:, k] = self.duration() if name == "duration" else self[name]
        return out

    def ref(self, i: int) -> FlowRef:
        """Names the flow for the evidence of a finding."""
        row = self.view(np.ndarray)[i]
        return FlowRef(int(row["id"]), self.community_id(i), PROTOCOLS.get(int(row["proto"]), "ip"),
                       _endpoint(self.src(i), int(row["src_port"])), _endpoint(self.dst(i), int(row["dst_port"])))


def _endpoint(a: Address | None, port: int) -> str:
    if a is None:
        return "invalid AddrPort"  # as the Go side says
    if isinstance(a, ipaddress.IPv6Address):
        # Older versions of Python write the IPv4 part in hexadecimal.
        return f"[::ffff:{a.ipv4_mapped}]:{port}" if a.ipv4_mapped else f"[{a}]:{port}"
    return f"{a}:{port}"


class PacketRows(Rows):
    """The packets of a batch, cut to the snap length."""

    def payload(self, i: int) -> memoryview:
        """The bytes from the link layer on."""
        return self.raw("data", i)


_CLASSES: dict[str, type[Rows]] = {"flow": Flows, "packet": PacketRows}


@dataclass
class Header:
    schema: str
    row_size: int
    count: int
    heap: int  # offset


def parse_header(frame: memoryview) -> Header:
    """Reads a header and checks that its sizes agree with one another and with the length of the frame."""
    if len(frame) < HEADER or bytes(frame[:4]) != b"PKRW":
        raise FrameError(f"{len(frame)} bytes without the magic PKRW")
    if len(frame) > MAX_FRAME:
        raise FrameError(f"{len(frame)} bytes are more than {MAX_FRAME}")
    _, schema, major, row_size, count, heap, total, _ = _HEAD.unpack_from(frame)
    if total != len(frame):
        raise FrameError(f"{len(frame)} bytes, the header says {total}")
    if row_size == 0 or row_size > _MAX_ROW:
        raise FrameError(f"row size {row_size}")
    if heap > total or heap != HEADER + row_size * count:
        raise FrameError(f"{count} rows of {row_size} bytes do not end at the heap offset {heap} within {total} bytes")
    name = _BY_ID.get(schema)
    if name is None:
        raise FrameError(f"unknown schema {schema}")
    known = SCHEMAS[name]
    if major != known["major"]:
        raise FrameError(f"schema {name} has major version {major}, this program reads {known['major']}")
    if row_size < known["baseline"]:
        raise FrameError(f"rows of {row_size} bytes, schema {name} has at least {known['baseline']}")
    return Header(name, row_size, count, heap)


def none(schema: str) -> Rows:
    """No rows of a schema."""
    out = np.zeros(0, _DTYPES[schema]).view(_CLASSES.get(schema, Rows))
    out.heap, out.schema = memoryview(b""), schema
    return out


def split(data: bytes | memoryview) -> Iterator[memoryview]:
    """The frames of data that holds several, one after the other, as picket flows --format frames writes them."""
    mem = memoryview(data).toreadonly().cast("B")
    while mem:
        if len(mem) < HEADER:
            raise FrameError(f"{len(mem)} bytes without the magic PKRW")
        (n,) = struct.unpack_from("<I", mem, 20)
        if n < HEADER or n > len(mem):
            raise FrameError(f"{len(mem)} bytes, the header says {n}")
        yield mem[:n]
        mem = mem[n:]


def decode(frame: bytes | bytearray | memoryview, *, verify: bool = True) -> Rows:
    """The rows of a frame, as views of its memory. Raises FrameError. verify=False leaves out the checksum, for a frame
    that did not leave this machine."""
    mem = memoryview(frame).toreadonly().cast("B")
    h = parse_header(mem)
    if verify:
        (want,) = struct.unpack_from("<I", mem, _CRC_AT)
        if (got := checksum(mem)) != want:
            raise FrameError(f"checksum {got:08x}, the header says {want:08x}")
    known = SCHEMAS[h.schema]["row_size"]
    dtype = _DTYPES[h.schema] if h.row_size == known else _dtype(h.schema, h.row_size)
    rows = np.frombuffer(mem, dtype, h.count, HEADER)
    if h.row_size < known:  # of an older writer: what it does not know is zero
        full = np.zeros(h.count, _DTYPES[h.schema])
        for name in dtype.names or ():
            full[name] = rows[name]
        full.flags.writeable = False
        rows = full
    out = rows.view(_CLASSES.get(h.schema, Rows))
    out.heap, out.schema = mem[h.heap :], h.schema
    _check_refs(out)
    return out


def _check_refs(rows: Rows) -> None:
    """Checks every reference at once, that rows do not share lists, and that the texts that they share are not longer than a
    frame when each is written out: a small frame could decode into a huge one."""
    listed = held = 0
    for name, type_ in _TYPES[rows.schema].items():
        size = {"string": 1, "bytes": 1, "u64list": 8, "textmap": 16, "textlist": 8}.get(type_)
        if size is None or not len(rows):
            continue
        column = rows[name]
        length = column["len"].astype(np.uint64) * np.uint64(size)
        end = column["at"] + length
        if int(end.max()) > len(rows.heap):
            i = int(end.argmax())
            raise FrameError(f"a reference to {column['len'][i]} x {size} bytes at {column['at'][i]} "
                             f"leaves the heap of {len(rows.heap)}")
        if size == 1:
            held += int(length.sum())
            continue
        listed += int(length.sum())
        if listed > len(rows.heap):
            raise FrameError(f"its lists are longer than its heap of {len(rows.heap)} bytes")
        if type_ != "u64list":
            held += _check_texts(rows.heap, column["at"], length)
    if held > MAX_FRAME:
        raise FrameError(f"its texts together are longer than {MAX_FRAME} bytes")


def _check_texts(heap: memoryview, at: np.ndarray[Any, Any], length: np.ndarray[Any, Any]) -> int:
    """Checks the texts in lists and maps, given where these lie and their bytes, and returns how long the texts are together."""
    count = (length // np.uint64(8)).astype(np.int64)
    total = int(count.sum())
    if not total:
        return 0
    first = at.astype(np.int64) - 8 * (count.cumsum() - count)
    places = np.repeat(first, count) + 8 * np.arange(total)
    refs = np.frombuffer(heap, "u1")[places[:, None] + np.arange(8)].view("<u4").astype(np.int64)
    end = refs.sum(axis=1)
    if int(end.max()) > len(heap):
        i = int(end.argmax())
        raise FrameError(f"a reference to {refs[i, 1]} x 1 bytes at {refs[i, 0]} leaves the heap of {len(heap)}")
    return int(refs[:, 1].sum())


# --- writing ---


class _Heap:
    def __init__(self) -> None:
        self.buf = bytearray()

    def put(self, raw: bytes, count: int) -> tuple[int, int]:
        if not raw:
            return 0, 0
        at = len(self.buf)
        self.buf += raw
        return at, count

    def text(self, s: str) -> tuple[int, int]:
        raw = s.encode("utf-8", "replace")
        return self.put(raw, len(raw))

    def texts(self, texts: Sequence[str]) -> tuple[int, int]:
        if not texts:
            return 0, 0
        at = len(self.buf)
        self.buf += bytes(8 * len(texts))
        for k, s in enumerate(texts):
            struct.pack_into("<II", self.buf, at + 8 * k, *self.text(s))
        return at, len(texts)

    def textmap(self, m: dict[str, str]) -> tuple[int, int]:
        if not m:
            return 0, 0
        at = len(self.buf)
        self.buf += bytes(16 * len(m))
        for k, (key, value) in enumerate(sorted(m.items(), key=lambda e: e[0].encode("utf-8", "replace"))):
            struct.pack_into("<IIII", self.buf, at + 16 * k, *self.text(key), *self.text(value))
        return at, len(m)


def encode(schema: str, rows: Sequence[dict[str, Any]]) -> bytes:
    """One frame of rows; each is a dict by the names of the fields. What is missing is zero, a time not set. Rows hold the
    further features when the first one names any."""
    s = SCHEMAS[schema]
    known = _DTYPES[schema].names or ()
    long = any(f[0] in row and f[0] not in known for row in rows[:1] for f in s["fields"])
    dtype = _dtype(schema, s["long_row"]) if long else _DTYPES[schema]
    out = np.zeros(len(rows), dtype)
    heap = _Heap()
    fields = [f for f in s["fields"] if f[0] in (dtype.names or ())]
    for i, row in enumerate(rows):
        for name, type_, _, _, values in fields:
            _put(out, i, name, type_, values, row.get(name), heap)
    return _frame(s, out.tobytes(), len(rows), heap.buf)


def _put(out: np.ndarray[Any, Any], i: int, name: str, type_: str, values: tuple[str, ...], v: Any, heap: _Heap) -> None:
    if type_ == "time":
        ns = nanos(v)
        out[name].view("<i8")[i] = _NO_TIME if ns is None else ns
    elif v is None:
        return
    elif type_ == "addr":
        a = ipaddress.ip_address(v)
        out[name + "_kind"][i] = a.version
        raw = a.packed if a.version == 6 else bytes(10) + b"\xff\xff" + a.packed
        out[name][i] = np.frombuffer(raw, "u1")
    elif type_ == "string":
        out[name][i] = heap.text(v)
    elif type_ == "bytes":
        out[name][i] = heap.put(bytes(v), len(v))
    elif type_ == "u64list":
        out[name][i] = heap.put(struct.pack(f"<{len(v)}Q", *v), len(v))
    elif type_ == "textmap":
        out[name][i] = heap.textmap(v)
    elif type_ == "textlist":
        out[name][i] = heap.texts(v)
    elif type_ == "enum":
        out[name][i] = values.index(v) if v in values else 0
    else:
        out[name][i] = v


def _frame(schema: dict[str, Any], rows: bytes, count: int, heap: bytes | bytearray) -> bytes:
    at = HEADER + len(rows)
    total = at + len(heap)
    if total > MAX_FRAME:
        raise FrameError(f"a frame of {total} bytes is larger than {MAX_FRAME}")
    row_size = len(rows) // count if count else schema["row_size"]
    head = _HEAD.pack(b"PKRW", schema["id"], schema["major"], row_size, count, at, total, 0)
    frame = bytearray(head + bytes(4) + rows)
    frame += heap
    struct.pack_into("<I", frame, _CRC_AT, checksum(memoryview(frame)))
    return bytes(frame)


_SAMPLE_ROW = struct.Struct("<qdIIIIIIB7x")


def encode_samples(samples: Iterable[Sample], *, checked: bool = False) -> bytes:
    """One frame of samples. Their times must be nanoseconds. checked=True writes the checksum, which nobody looks at on
    the record plane."""
    heap = _Heap()
    rows = bytearray()
    n = 0
    types = dict(zip(("", GAUGE, "counter"), range(3)))
    for s in samples:
        ns = nanos(s.time)
        rows += _SAMPLE_ROW.pack(_NO_TIME if ns is None else ns, s.value, *heap.text(s.metric), *heap.text(s.unit),
                                 *heap.textmap(s.labels), types.get(s.type, 0))
        n += 1
    schema = SCHEMAS["sample"]
    if checked:
        return _frame(schema, bytes(rows), n, heap.buf)
    at = HEADER + len(rows)
    head = _HEAD.pack(b"PKRW", schema["id"], schema["major"], schema["row_size"], n, at, at + len(heap.buf), 0)
    return head + bytes(4) + bytes(rows) + bytes(heap.buf)


# --- rows as objects ---


def rows_of(rows: Rows) -> Iterator[dict[str, Any]]:
    """Each row as a dict, everything copied out of the frame."""
    names = rows.dtype.names or ()
    types = {name: type_ for name, type_ in _TYPES[rows.schema].items() if name in names}
    enums = {f[0]: f[4] for f in SCHEMAS[rows.schema]["fields"] if f[1] == "enum"}
    plain = rows.view(np.ndarray)
    for i in range(len(rows)):
        row = plain[i]
        out: dict[str, Any] = {}
        for name, type_ in types.items():
            if type_ == "string":
                out[name] = rows.text(name, i)
            elif type_ == "bytes":
                out[name] = bytes(rows.raw(name, i))
            elif type_ == "u64list":
                out[name] = [int(n) for n in rows.u64s(name, i)]
            elif type_ == "textmap":
                out[name] = rows.map(name, i)
            elif type_ == "textlist":
                out[name] = rows.texts(name, i)
            elif type_ == "addr":
                out[name] = rows.addr(name, i)
            elif type_ == "time":
                ns = int(row[name].view("<i8"))
                out[name] = None if ns == _NO_TIME else ns
            elif type_ == "enum":
                values = enums[name]
                out[name] = values[row[name]] if row[name] < len(values) else ""
            else:
                out[name] = row[name].item()
        yield out


# --- CRC-32C ---


def _table() -> np.ndarray[Any, np.dtype[np.uint32]]:
    t = np.zeros((8, 256), np.uint32)
    for i in range(256):
        c = i
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        t[0, i] = c
    for k in range(1, 8):
        t[k] = t[0][t[k - 1] & 0xFF] ^ t[k - 1] >> np.uint32(8)
    return t


_CRC = _table()
_CRC_BYTES: list[int] = [int(v) for v in _CRC[0]]


def _crc_short(state: int, data: Any) -> int:
    for b in data:
        state = _CRC_BYTES[(state ^ b) & 0xFF] ^ state >> 8
    return state


def _matrix_times(m: list[int], v: int) -> int:
    out, k = 0, 0
    while v:
        if v & 1:
            out ^= m[k]
        v >>= 1
        k += 1
    return out


def _zeros(length: int) -> list[int]:
    """The matrix that moves a state over length bytes of zero."""
    step = [_crc_short(1 << k, b"\0") for k in range(32)]
    out = [1 << k for k in range(32)]
    while length:
        if length & 1:
            out = [_matrix_times(step, v) for v in out]
        step = [_matrix_times(step, v) for v in step]
        length >>= 1
    return out


def crc32c(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """CRC-32C (Castagnoli) of the data, going on from crc. Long data is cut into lanes that numpy computes at once."""
    state = crc ^ 0xFFFFFFFF
    mem = memoryview(data).cast("B")
    lanes = 256
    words = len(mem) // (8 * lanes)
    if words >= 2:
        size = words * 8
        block = np.frombuffer(mem[: size * lanes], "u1").reshape(lanes, words, 8)
        states = np.zeros(lanes, np.uint32)
        states[0] = state
        for w in range(words):
            column = block[:, w, :]
            x = states ^ column[:, :4].copy().view("<u4")[:, 0]
            states = (_CRC[7][x & 0xFF] ^ _CRC[6][x >> 8 & 0xFF] ^ _CRC[5][x >> 16 & 0xFF] ^ _CRC[4][x >> 24]
                      ^ _CRC[3][column[:, 4]] ^ _CRC[2][column[:, 5]] ^ _CRC[1][column[:, 6]] ^ _CRC[0][column[:, 7]])
        move = _zeros(size)
        state = 0
        for s in states:
            state = _matrix_times(move, state) ^ int(s)
        mem = mem[size * lanes :]
    return _crc_short(state, mem) ^ 0xFFFFFFFF


def checksum(frame: memoryview) -> int:
    """The checksum of a frame: all bytes but its own."""
    return crc32c(frame[HEADER:], crc32c(frame[:_CRC_AT]))


__all__ = ["Flows", "FrameError", "PacketRows", "Rows", "FLOW", "PACKET", "SAMPLE", "MAX_FRAME", "FACTS", "crc32c", "decode",
           "encode", "encode_samples", "from_nanos", "rows_of", "split",
           "unmapped"]
