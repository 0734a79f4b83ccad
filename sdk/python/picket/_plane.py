"""The record plane: batches and samples over a socket pair instead of gRPC. proto/records/PLANE.md is the protocol."""

from __future__ import annotations

import mmap
import os
import socket
import struct
import sys
import threading
import time
from collections import deque
from typing import Any, Callable

from . import _wire, errors, records
from ._instance import Set
from ._context import Context
from .types import Finding, Sample, Sighting

ENV = "PICKET_RECORDS_FD"
EXIT_BROKEN = 6

MAX_BODY = (16 << 20) + (64 << 10)
WINDOW = 4
WINDOW_BYTES = 8 << 20
MAX_SAMPLES_BODY = 1 << 20
MAX_SAMPLES_ROWS = 1024
MAX_WAIT = 0.005  # seconds that samples wait for others

HELLO, BATCH, BATCH_REF, RESULT, SAMPLES, ACK, CREDIT, RING = range(1, 9)
_HEAD = struct.Struct("<4sIBBHIQ")
_MAGIC = b"PKPL"
_RING_FOLLOWS = 1


class Broken(Exception):
    """The host did not keep to the protocol."""


def die(why: object) -> None:
    """Ends the process, as the protocol wants it for a broken peer."""
    sys.stderr.write(f"record plane: {why}\n")
    sys.stderr.flush()
    os._exit(EXIT_BROKEN)


class _Channel:
    """The batches of one instance, inspected in order by a thread of its own."""

    def __init__(self, number: int, instance: str, deadline: float | None) -> None:
        self.number, self.instance, self.deadline = number, instance, deadline
        self.next_batch = 1
        self.next_samples = 1
        self.queue: deque[tuple[int, str, memoryview, int] | None] = deque()
        self.waiting = 0  # batches without RESULT
        self.waiting_bytes = 0
        self.ready = threading.Condition()
        self.calls: dict[int, "Call"] = {}
        self.unacked: dict[int, Call] = {}  # by the number of the SAMPLES, oldest first


class Plane:
    """The plugin's end of the plane."""

    def __init__(self, fd: int, instances: Set, fail: Callable[[object], None] = die) -> None:
        self._sock = socket.socket(fileno=fd)
        self._sock.setblocking(True)
        os.set_inheritable(fd, False)
        self._set = instances
        self._fail = fail
        self._send_lock = threading.Lock()
        self._lock = threading.Lock()  # guards _channels
        self._channels: dict[int, _Channel] = {}
        self._by_instance: dict[str, _Channel] = {}
        self._highest = 0
        self._ring: memoryview | None = None
        self._window, self._window_bytes = WINDOW, WINDOW_BYTES
        self._stop_flusher = False
        self._pending: set[Call] = set()
        self._flush_due = threading.Condition()
        self._send(HELLO, 0, 0, struct.pack("<III", 1, WINDOW, WINDOW_BYTES))

    def start(self) -> None:
        """Begins to read. The threads end with the process."""
        threading.Thread(target=self._run, name="records", daemon=True).start()
        threading.Thread(target=self._flusher, name="samples", daemon=True).start()

    def close(self) -> None:
        self._sock.close()

    # --- channels ---

    def open(self, number: int, instance: str, deadline: float | None) -> None:
        """Opens the channel of an instance, before Configure is answered. 0 means that the instance has none."""
        if number == 0:
            return
        c = _Channel(number, instance, deadline)
        with self._lock:
            if number in self._channels or number <= self._highest:
                raise errors.Internal(f"channel {number} was given before")
            self._highest = number
            self._channels[number] = c
            self._by_instance[instance] = c
        threading.Thread(target=self._work, args=(c,), name=f"channel {number}", daemon=True).start()

    def shut(self, instance: str) -> None:
        """Closes the channel of an instance; batches that wait are answered with an error."""
        with self._lock:
            c = self._by_instance.pop(instance, None)
            if c is None:
                return
            self._channels.pop(c.number, None)
        with c.ready:
            c.queue.append(None)
            c.ready.notify_all()

    def call(self, ctx: Context, instance: str, number: int, frames: int, size: int) -> "Call":
        """Begins a call whose samples travel here, with its first credit."""
        with self._lock:
            c = self._by_instance.get(instance)
        if c is None:
            raise errors.Internal(f"instance {instance} has no channel, but the call wants one")
        out = Call(self, ctx, c, number, frames, size)
        with c.ready:
            c.calls[number] = out
        return out

    # --- receiving ---

    def _run(self) -> None:
        try:
            self._greet()
            while True:
                head = self._exactly(_HEAD.size)
                if head is None:
                    return  # the host is gone; the lifeline says so too
                self._message(head)
        except Broken as e:
            self._fail(e)
        except OSError as e:
            self._fail(e)

    def _greet(self) -> None:
        fds: list[int] = []
        type_, flags, _, _, body = self._plain(fds)
        if type_ != HELLO:
            raise Broken(f"message {type_} before HELLO")
        if len(body) < 12:
            raise Broken(f"HELLO of {len(body)} bytes")
        major, window, window_bytes = struct.unpack_from("<III", body)
        if major != 1:
            raise Broken(f"the host speaks major {major} of the record plane, this plugin 1: build it with a newer SDK")
        if flags & ~_RING_FOLLOWS:
            raise Broken(f"flags {flags:#x} of HELLO")
        self._window, self._window_bytes = max(min(window, WINDOW), 1), min(window_bytes, WINDOW_BYTES)
        if not flags & _RING_FOLLOWS:
            return
        type_, flags, channel, seq, body = self._plain(fds)
        if type_ != RING or flags or channel or seq or len(body) < 8 or len(fds) != 1:
            raise Broken(f"message {type_} with {len(body)} bytes and {len(fds)} descriptors instead of RING")
        (size,) = struct.unpack_from("<Q", body)
        try:
            if size == 0 or size > os.fstat(fds[0]).st_size:
                raise Broken(f"a ring of {size} bytes")
            self._ring = memoryview(mmap.mmap(fds[0], size, prot=mmap.PROT_READ)).toreadonly()
        finally:
            os.close(fds[0])

    def _plain(self, fds: list[int]) -> tuple[int, int, int, int, bytes]:
        """One of the first messages, which a descriptor may come with: not a byte more is read than it has."""
        raw = self._with_fds(_HEAD.size, fds)
        magic, length, type_, flags, reserved, channel, seq = _HEAD.unpack(raw)
        if magic != _MAGIC or reserved or length > MAX_BODY:
            raise Broken(f"a header of {raw.hex()}")
        if length > 4096:
            raise Broken(f"message {type_} of {length} bytes at the beginning")
        return type_, flags, channel, seq, self._with_fds(length, fds)

    def _with_fds(self, n: int, fds: list[int]) -> bytes:
        out = b""
        while len(out) < n:
            data, anc, flags, _ = self._sock.recvmsg(n - len(out), socket.CMSG_SPACE(16), socket.MSG_CMSG_CLOEXEC)
            for level, kind, raw in anc:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds += struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4])
            if not data:
                raise Broken("the host ended the connection at the beginning")
            out += data
        return out

    def _exactly(self, n: int) -> memoryview | None:
        """n bytes; None at the end of the stream in front of them."""
        buf = memoryview(bytearray(n)) if n < 4096 else _uninitialized(n)
        got = 0
        while got < n:
            k = self._sock.recv_into(buf[got:])
            if k == 0:
                if got:
                    raise Broken(f"the stream ended after {got} of {n} bytes")
                return None
            got += k
        return buf

    def _message(self, head: memoryview) -> None:
        magic, length, type_, flags, reserved, channel, seq = _HEAD.unpack(head)
        if magic != _MAGIC or reserved or flags:
            raise Broken(f"a header of {bytes(head).hex()}")
        if type_ not in (BATCH, BATCH_REF, ACK, CREDIT):
            raise Broken(f"message of type {type_}")
        if length > MAX_BODY:
            raise Broken(f"a body of {length} bytes")
        body = self._exactly(length) if length else memoryview(b"")
        if body is None:
            raise Broken("the stream ended after a header")
        with self._lock:
            c = self._channels.get(channel)
            known = 0 < channel <= self._highest
        if type_ in (BATCH, BATCH_REF):
            if c is not None:
                self._batch(c, type_, seq, body)
            else:
                self._answer(channel, seq, errors.Internal(f"channel {channel} is not open"))
        elif c is not None:
            (self._acked if type_ == ACK else self._credited)(c, seq, body)
        elif not known:
            raise Broken(f"message {type_} of channel {channel}, which the host never gave")

    def _batch(self, c: _Channel, type_: int, seq: int, body: memoryview) -> None:
        if seq != c.next_batch:
            raise Broken(f"batch {seq} of channel {c.number} where {c.next_batch} comes next")
        c.next_batch += 1
        if len(body) < 2:
            raise Broken(f"a batch of {len(body)} bytes")
        (n,) = struct.unpack_from("<H", body)
        if 2 + n > len(body):
            raise Broken(f"a batch of {len(body)} bytes with a name of {n}")
        capture, frame = str(body[2 : 2 + n], "utf-8", "replace"), body[2 + n :]
        if type_ == BATCH_REF:
            if len(frame) != 12:
                raise Broken(f"a reference of {len(frame)} bytes")
            at, size = struct.unpack("<QI", frame)
            if self._ring is None or at + size > len(self._ring):
                raise Broken(f"a reference to {size} bytes at {at} outside the ring")
            frame = self._ring[at : at + size]
        with c.ready:
            c.waiting += 1
            c.waiting_bytes += len(body)
            if c.waiting > 1 and (c.waiting > self._window or c.waiting_bytes > self._window_bytes):
                raise Broken(f"{c.waiting} batches of {c.waiting_bytes} bytes are more than the window")
            c.queue.append((seq, capture, frame, len(body)))
            c.ready.notify()

    def _acked(self, c: _Channel, seq: int, body: memoryview) -> None:
        with c.ready:
            call = c.unacked.pop(seq, None)
            if call is None:
                if seq == 0 or seq >= c.next_samples:
                    raise Broken(f"an acknowledgement of samples {seq}, which were not sent")
                return  # of a call that has ended
            if len(body):
                try:
                    e = _wire.message("Error").FromString(bytes(body))
                except Exception:
                    raise Broken("an acknowledgement that is not an Error") from None
                call.refused = call.refused or errors.of(getattr(e, "class"), e.message, e.retry_after_nanos / 1e9)
            call.unacked -= 1
            c.ready.notify_all()

    def _credited(self, c: _Channel, number: int, body: memoryview) -> None:
        if len(body) < 8:
            raise Broken(f"CREDIT of {len(body)} bytes")
        frames, size = struct.unpack_from("<II", body)
        with c.ready:
            call = c.calls.get(number)
            if call is not None:
                call.frames += frames
                call.bytes += size
                c.ready.notify_all()

    # --- work ---

    def _work(self, c: _Channel) -> None:
        while True:
            with c.ready:
                while not c.queue:
                    c.ready.wait()
                item = c.queue.popleft()
            if item is None:
                return
            seq, capture, frame, size = item
            failure, found = self._inspect(c, capture, frame)
            del frame, item
            with c.ready:
                c.waiting -= 1
                c.waiting_bytes -= size
            self._answer(c.number, seq, failure, found)

    def _inspect(self, c: _Channel, capture: str, frame: memoryview) -> tuple[BaseException | None, "Found"]:
        found = Found()
        ctx = Context(None if not c.deadline else time.monotonic() + c.deadline)
        try:
            self._set.inspect(ctx, c.instance, capture, frame, found.put, verify=False)
        except BaseException as e:
            return e, found
        finally:
            ctx.close()
        return None, found

    def _answer(self, channel: int, seq: int, failure: BaseException | None, found: "Found | None" = None) -> None:
        response = (found or Found()).response("InspectResponse", failure)
        self._send(RESULT, channel, seq, response.SerializeToString())

    def _send(self, type_: int, channel: int, seq: int, body: bytes) -> None:
        with self._send_lock:
            self._write(type_, channel, seq, body)

    def _write(self, type_: int, channel: int, seq: int, body: bytes) -> None:
        head = _HEAD.pack(_MAGIC, len(body), type_, 0, 0, channel, seq)
        try:
            self._sock.sendall(head + body if len(body) < 4096 else head)
            if len(body) >= 4096:
                self._sock.sendall(body)
        except OSError as e:
            raise errors.Temporary(f"the host is gone: {e}") from None

    # --- samples ---

    def _flusher(self) -> None:
        """Sends what waits for longer than MAX_WAIT."""
        while True:
            with self._flush_due:
                while not self._pending:
                    self._flush_due.wait()
                oldest = min(c.since for c in self._pending)
                delay = oldest + MAX_WAIT - time.monotonic()
                if delay > 0:
                    self._flush_due.wait(delay)
                now = time.monotonic()
                due = [c for c in self._pending if now - c.since >= MAX_WAIT]
            for call in due:
                call.flush_if_due()


def _uninitialized(n: int) -> memoryview:
    import numpy as np

    return np.empty(n, np.uint8).data


class Found:
    """Gathers what one call emits: findings, or the sightings of an observer. The instance bounds their number, and this their
    size."""

    limit = _wire.MAX_MESSAGE - (1 << 20)

    def __init__(self) -> None:
        self.findings: list[Any] = []
        self.sightings: list[Any] = []
        self._size = 0
        self._full: errors.Error | None = None

    def put(self, v: Finding | Sighting) -> None:
        if isinstance(v, Sighting):
            self._keep(_wire.sighting_to_pb(v), self.sightings)
        else:
            self._keep(_wire.finding_to_pb(v), self.findings)

    def empty(self) -> bool:
        return not self.findings and not self.sightings

    def _keep(self, m: Any, into: list[Any]) -> None:
        size = m.ByteSize()
        if self._size + size > self.limit:
            self._full = errors.Internal(f"what one call emits is larger than {self.limit} bytes")
            raise self._full
        self._size += size
        into.append(m)

    def response(self, name: str, failure: BaseException | None) -> Any:
        if self._full is not None and failure is not self._full:
            failure = errors.join(failure, self._full)
        error = None if failure is None else _wire.error_to_pb(failure)
        return _wire.message(name)(findings=self.findings, sightings=self.sightings, error=error)


class Call:
    """Sends the samples of one call within its credit."""

    def __init__(self, plane: Plane, ctx: Context, channel: _Channel, number: int, frames: int, size: int) -> None:
        self._plane, self._ctx, self._channel, self._number = plane, ctx, channel, number
        self.frames, self.bytes = frames, size  # credit; guarded by channel.ready
        self.unacked = 0
        self.refused: errors.Error | None = None
        self.since = 0.0
        self._max_body = min(MAX_SAMPLES_BODY, max(size, 4096))
        self._lock = threading.Lock()  # guards what is held
        self._held: list[Sample] = []
        self._size = 0
        self._failure: BaseException | None = None

    def put(self, s: Sample) -> None:
        size = 48 + len(s.metric) + len(s.unit.encode()) + sum(
            16 + len(k.encode()) + len(v.encode()) for k, v in s.labels.items())
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._held and 40 + self._size + size > self._max_body:
                self._flush()
            self._held.append(s)
            self._size += size
            if len(self._held) >= MAX_SAMPLES_ROWS:
                self._flush()
            elif len(self._held) == 1:
                self.since = time.monotonic()
                with self._plane._flush_due:
                    self._plane._pending.add(self)
                    self._plane._flush_due.notify()

    def flush_if_due(self) -> None:
        with self._lock:
            try:
                if time.monotonic() - self.since >= MAX_WAIT:
                    self._flush()
            except BaseException as e:
                self._failure = e

    def _flush(self) -> None:
        with self._plane._flush_due:
            self._plane._pending.discard(self)
        if not self._held:
            return
        body = struct.pack("<II", self._number, 0) + records.encode_samples(self._held)
        self._held, self._size = [], 0
        c = self._channel
        with c.ready:
            while self.frames < 1 or self.bytes < len(body):
                self._ctx.check()
                c.ready.wait(_step(self._ctx))
            self.frames -= 1
            self.bytes -= len(body)
        with self._plane._send_lock:  # numbers leave in their order
            with c.ready:
                seq, c.next_samples = c.next_samples, c.next_samples + 1
                c.unacked[seq] = self
                self.unacked += 1
            self._plane._write(SAMPLES, c.number, seq, body)

    def finish(self) -> None:
        """Sends the rest and waits until all is acknowledged; raises what was refused."""
        c = self._channel
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._flush()
        with c.ready:
            while self.unacked:
                self._ctx.check()
                c.ready.wait(_step(self._ctx))
        if self.refused is not None:
            raise self.refused

    def close(self) -> None:
        """Forgets the call; later credits and acknowledgements are ignored."""
        c = self._channel
        with self._plane._flush_due:
            self._plane._pending.discard(self)
        with c.ready:
            c.calls.pop(self._number, None)
            for seq in [s for s, call in c.unacked.items() if call is self]:
                del c.unacked[seq]


def _step(ctx: Context) -> float:
    """How long to wait before the context is looked at again."""
    left = ctx.remaining()
    return 0.05 if left is None else min(0.05, left + 0.001)
