"""The process's end of the broker, which opens what a confined plugin may not open by itself. package brokerwire of the
Go SDK describes the protocol."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import struct
import threading
from typing import Any

from . import _context, errors

ENV = "PICKET_BROKER_FD"

_MAX_MESSAGE = 64 << 10
_MAX_DATAGRAM = (64 << 10) + 275
_MAX_VALUE = 1 << 20
_TIMEOUT = 30.0  # seconds

_CAUSES: dict[str, type[OSError]] = {
    "not_exist": FileNotFoundError, "permission": PermissionError, "timeout": TimeoutError,
    "refused": ConnectionRefusedError, "reset": ConnectionResetError, "unreachable": OSError, "in_use": OSError,
}


def connect(fd: int | None) -> "Broker | None":
    """The broker of this process, None when it has none."""
    return None if fd is None else Broker(socket.socket(fileno=fd))


class Broker:
    """Asks the host. Many threads may ask at the same time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.setblocking(True)
        self._lock = threading.Condition()  # guards all below
        self._send = threading.Lock()
        self._last = 0
        self._waiting: dict[int, Any] = {}  # None until the answer is there
        self._gone = ""
        threading.Thread(target=self._read, name="broker", daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                data, fds = _receive(self._sock, _MAX_MESSAGE)
                if not data:
                    raise OSError("the host ended it")
                answer = json.loads(data)
                with self._lock:
                    if answer.get("id") in self._waiting:
                        self._waiting[answer["id"]] = (answer, fds)
                        self._lock.notify_all()
                        continue
                for fd in fds:  # whoever asked has given up
                    os.close(fd)
        except (OSError, ValueError, AttributeError) as e:
            with self._lock:
                self._gone = f"the broker of this process is gone: {e}"
                self._lock.notify_all()

    def ask(self, op: str, **fields: Any) -> tuple[dict[str, Any], int | None]:
        """Sends a request and waits for its answer. The descriptor, if any, is the caller's."""
        ctx = _context.context()
        left = ctx.remaining()
        timeout = _TIMEOUT if left is None else min(left, _TIMEOUT)
        ctx.check()
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting[number] = None
        fds: list[int] = []
        try:
            message = {"id": number, "op": op, "timeout": int(timeout * 1e9), **fields}
            with self._send:
                self._sock.send(json.dumps(message).encode())
            with self._lock:
                while self._waiting[number] is None:
                    if self._gone:
                        raise errors.Temporary(self._gone)
                    ctx.check()
                    self._lock.wait(0.05)
                answer, fds = self._waiting[number]
        except OSError as e:
            raise errors.Temporary(f"ask the broker: {e}") from None
        finally:
            with self._lock:
                late = self._waiting.pop(number, None)
            if late is not None and late[1] is not fds:
                for fd in late[1]:
                    os.close(fd)
        if answer.get("error"):
            for fd in fds:
                os.close(fd)
            raise _error(answer["error"])
        return answer, (fds[0] if fds else None)

    def socket(self, op: str, **fields: Any) -> tuple[dict[str, Any], socket.socket]:
        """Asks for something that comes with a socket."""
        answer, fd = self.ask(op, **fields)
        if fd is None:
            raise errors.Internal(f"the broker answers {op} without a descriptor")
        sock = socket.socket(fileno=fd)
        sock.setblocking(True)
        return answer, sock

    def state_get(self, key: str) -> bytes | None:
        answer, fd = self.ask("state_get", key=key)
        if not answer.get("found"):
            return None
        size = int(answer.get("size", 0))
        if not 0 <= size <= _MAX_VALUE or (size > 0) != (fd is not None):
            raise errors.Internal(f"read state {key!r}: the broker offers {size} bytes")
        if fd is None:
            return b""
        with socket.socket(fileno=fd) as s:
            s.settimeout(_TIMEOUT)
            value = _all(s, size)
        if len(value) != size:
            raise errors.Temporary(f"read state {key!r}: it ended after {len(value)} of {size} bytes")
        return value

    def state_put(self, key: str, value: bytes) -> None:
        if len(value) > _MAX_VALUE:
            raise errors.Unsupported(f"store state {key!r}: {len(value)} bytes are more than {_MAX_VALUE}")
        _, s = self.socket("state_put", key=key, size=len(value))
        with s:
            s.settimeout(_TIMEOUT)
            try:
                s.sendall(value)
                s.shutdown(socket.SHUT_WR)
                answer = json.loads(_all(s, _MAX_MESSAGE))
            except (OSError, ValueError) as e:
                raise errors.Temporary(f"store state {key!r}: {e}") from None
        if answer.get("error"):
            raise _error(answer["error"])


def _all(s: socket.socket, limit: int) -> bytes:
    out = bytearray()
    while len(out) < limit and (data := s.recv(limit - len(out))):
        out += data
    return bytes(out)


def _receive(s: socket.socket, size: int) -> tuple[bytes, list[int]]:
    data, anc, flags, _ = s.recvmsg(size, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, raw in anc:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += struct.unpack(f"{len(raw) // 4}i", raw[: len(raw) // 4 * 4])
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise OSError(f"a message is larger than {size} bytes")
    return data, fds


def _error(e: dict[str, Any]) -> Exception:
    err = errors.of(str(e.get("class")), str(e.get("message")), e.get("retry_after", 0) / 1e9)
    if (cause := _CAUSES.get(str(e.get("cause", "")))) is not None:
        err.__cause__ = cause(str(e.get("message")))
    return err


class Listener:
    """Accepts connections."""

    def __init__(self, answer: dict[str, Any], sock: socket.socket) -> None:
        self.address: str = answer.get("local", "")
        self._sock = sock

    def accept(self) -> tuple[socket.socket, str]:
        """The next connection and the address of its other end. Raises Cancelled when the call ends."""
        ctx = _context.context()
        while True:
            ctx.check()
            self._sock.settimeout(0.2)
            try:
                data, fds = _receive(self._sock, _MAX_MESSAGE)
            except TimeoutError:
                continue
            if not data:
                raise errors.Temporary("the listener was closed")
            if fds:
                conn = socket.socket(fileno=fds[0])
                conn.setblocking(True)
                return conn, str(json.loads(data).get("remote", ""))

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Datagrams:
    """A socket for datagrams: UDP that is connected or listens, or ICMP, whose port is 0."""

    def __init__(self, answer: dict[str, Any], sock: socket.socket) -> None:
        self.local: str = answer.get("local", "")
        self.remote: str = answer.get("remote", "")
        self._sock = sock

    def send(self, data: bytes, to: tuple[str, int] | None = None) -> None:
        """Sends a datagram, to an address and a port unless it is connected."""
        head = b"\0"
        if to is not None:
            host, _, zone = to[0].partition("%")
            raw = ipaddress.ip_address(host).packed
            head = bytes([len(raw)]) + raw + struct.pack("<HB", to[1], len(zone)) + zone.encode()
        self._sock.send(head + data)

    def recv(self, timeout: float | None = None) -> tuple[bytes, tuple[str, int]]:
        """The next datagram and whom it comes from, ("", 0) for the connected peer. timeout is in seconds; raises
        TimeoutError after it, and Cancelled when the call ends."""
        ctx = _context.context()
        waited = 0.0
        while True:
            ctx.check()
            step = 0.2 if timeout is None else min(0.2, max(timeout - waited, 0.001))
            self._sock.settimeout(step)
            try:
                data = self._sock.recv(_MAX_DATAGRAM)
                return _datagram(data)
            except TimeoutError:
                waited += step
                if timeout is not None and waited >= timeout:
                    raise TimeoutError("no datagram came in time") from None

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> "Datagrams":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _datagram(data: bytes) -> tuple[bytes, tuple[str, int]]:
    if not data:
        raise errors.Temporary("the socket was closed")
    n = data[0]
    if n == 0:
        return data[1:], ("", 0)
    if n == 0xFF:
        raise _CAUSES.get(data[1:33].decode("ascii", "replace"), OSError)("the last datagram was not delivered")
    if n not in (4, 16) or len(data) < n + 4 or len(data) < n + 4 + data[n + 3]:
        raise errors.Internal(f"a datagram of {len(data)} bytes ends within its address")
    port, zone_length = struct.unpack_from("<HB", data, 1 + n)
    end = n + 4 + zone_length
    zone = data[n + 4 : end].decode("utf-8", "replace")
    addr = str(ipaddress.ip_address(data[1 : 1 + n]))
    return data[end:], (f"{addr}%{zone}" if zone else addr, port)
