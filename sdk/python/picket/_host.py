"""The view of the outside world that an instance has."""

from __future__ import annotations

import builtins
import hashlib
import mmap
import os
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import IO, Any

from . import _broker, _log, _context, errors
from ._instance import InstanceConfig

MAX_FETCH = 8 << 20  # bytes of a body, in either direction
_MAX_VALUE = 1 << 20
_MAX_KEYS = 256
_ID = re.compile(r"[a-z][a-z0-9-]*/[a-z][a-z0-9-]*\Z")
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}\Z")


@dataclass
class Response:
    """The answer to a request. Any status is an answer. Names of headers are lower case."""

    status: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""


class State:
    """A small key-value store of one instance that survives restarts: keys of at most 100 letters, digits and . _ -,
    values of at most 1 MiB."""

    def __init__(self, folder: str, broker: _broker.Broker | None) -> None:
        self._folder, self._broker = folder, broker

    def get(self, key: str) -> bytes | None:
        """The value of a key, None when there is none."""
        if self._broker:
            return self._broker.state_get(key)
        try:
            with open(self._file(key), "rb") as f:
                return f.read(_MAX_VALUE)
        except FileNotFoundError:
            return None

    def put(self, key: str, value: bytes) -> None:
        """Stores a value. It is on disk when put returns."""
        if self._broker:
            self._broker.state_put(key, value)
            return
        name = self._file(key)
        if len(value) > _MAX_VALUE:
            raise errors.Unsupported(f"store state {key!r}: {len(value)} bytes are more than {_MAX_VALUE}")
        if not os.path.exists(name) and len(os.listdir(self._folder)) >= _MAX_KEYS:
            raise errors.Unsupported(f"store state {key!r}: there are {_MAX_KEYS} keys already")
        new = os.path.join(self._folder, f".new-{os.getpid()}-{os.urandom(8).hex()}")
        try:
            with open(new, "xb") as f:
                f.write(value)
                f.flush()
                os.fsync(f.fileno())
            os.rename(new, name)
        finally:
            if os.path.exists(new):
                os.unlink(new)

    def _file(self, key: str) -> str:
        if not self._folder:
            raise errors.Unsupported("this instance has no folder for its state")
        if not _KEY.match(key):
            raise errors.Internal(f"state key {key!r}: letters, digits and . _ - within 100 bytes, not beginning with a dot")
        return os.path.join(self._folder, key)


class Model:
    """A model or a data pack that was installed with the plugin. Nobody can change its bytes: another release of it means
    another start.

        with self.host.model("acme/dns-names") as m:
            session = onnxruntime.InferenceSession(m.bytes())
    """

    def __init__(self, id: str, version: str, digest: str, file: IO[bytes]) -> None:
        self.id, self.version, self.digest, self._file = id, version, digest, file  # digest: SHA-256 in hexadecimal

    @property
    def size(self) -> int:
        """Its bytes."""
        return os.fstat(self._file.fileno()).st_size

    def bytes(self) -> builtins.bytes:
        """All of it, copied into memory."""
        self._file.seek(0)
        return self._file.read()

    def map(self) -> memoryview:
        """All of it where it lies, without a copy; good for as long as it is referred to."""
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def open(self) -> IO[builtins.bytes]:
        """It as a file that can be read and sought; closed with the model."""
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Gives the file back. What bytes and map returned stays."""
        self._file.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Host:
    """What an instance finds in self.host. What the operator did not grant raises PermissionDenied. Network and files
    come from the broker of the host: a plugin opens nothing by itself."""

    def __init__(self, cfg: InstanceConfig, broker: _broker.Broker | None, models: dict[str, str] | None = None) -> None:
        self._models = models or {}  # files, in tests
        self.log = _log.of(cfg.instance)
        self.state = State(cfg.state_dir, broker)
        self._secrets, self._grants, self._broker_ = cfg.secrets, cfg.grants, broker

    def now(self) -> datetime:
        """The host's clock, in UTC. Detectors use the time in the records instead, so that a replay gives the same."""
        return datetime.now(timezone.utc)

    def secret(self, name: str) -> str:
        """A secret by the path of its configuration field (permission secret.read). It also stands in that field."""
        if name in self._secrets:
            return self._secrets[name]
        for g in self._grants:
            if g["cap"] == "secret.read" and name in g["args"].get("keys", [name]):
                raise errors.InvalidConfig(f"the secret {name!r} is not set")
        raise errors.PermissionDenied(f"reading the secret {name!r} is not granted (secret.read)")

    def dial(self, network: str, address: str) -> Any:
        """Opens a connection: "tcp" host:port (permission net.dial) or "unix" to a path (unix.connect) gives a
        socket.socket, "udp" host:port a Datagrams. Names are resolved by the host. Within the deadline of the call."""
        answer, sock = self._ask("reach the network").socket("dial", network=network, address=address)
        if network.startswith("udp"):
            return _broker.Datagrams(answer, sock)
        sock.settimeout(_context.context().remaining())
        return sock

    def fetch(self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
        """Makes one HTTP request over dial and reads the whole answer, at most MAX_FETCH bytes. Redirects are not
        followed. Any status is an answer, not an error."""
        from . import _fetch

        return _fetch.fetch(self, url, method, headers or {}, body)

    def open(self, name: str) -> IO[bytes]:
        """Opens a file for reading (permission fs.read)."""
        _, fd = self._ask("open files").ask("open", name=name)
        if fd is None:
            raise errors.Internal("the broker answers without a file")
        return os.fdopen(fd, "rb")

    def model(self, id: str) -> Model:
        """Opens a model or a data pack by its id, namespace/name. plugin.yaml names it, and the versions that will do,
        under requires; it was installed with the plugin, so no permission is needed."""
        if not _ID.match(id):  # the broker would take it for a path
            raise errors.Internal(f"open model {id!r}: that is not the id of a release, namespace/name")
        if id in self._models:
            with open(self._models[id], "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            return Model(id, "0.0.0", digest, open(self._models[id], "rb"))
        answer, fd = self._ask("open models").ask("open", name=id)
        release = answer.get("model")
        if fd is None or not isinstance(release, dict):
            if fd is not None:
                os.close(fd)
            raise errors.Internal("the broker answers without a model")
        return Model(id, str(release.get("version", "")), str(release.get("digest", "")), os.fdopen(fd, "rb"))

    def listen(self, network: str, address: str) -> _broker.Listener:
        """Accepts connections on "tcp" host:port (permission net.listen)."""
        return _broker.Listener(*self._ask("listen").socket("listen", network=network, address=address))

    def listen_packet(self, network: str, address: str) -> _broker.Datagrams:
        """Receives datagrams on "udp" host:port (permission net.listen)."""
        return _broker.Datagrams(*self._ask("listen").socket("listen_packet", network=network, address=address))

    def listen_icmp(self, network: str) -> _broker.Datagrams:
        """A socket for ICMP echo on "ip4" or "ip6" (permission net.raw, icmp)."""
        return _broker.Datagrams(*self._ask("listen").socket("icmp", network=network))

    def _ask(self, what: str) -> _broker.Broker:
        if self._broker_ is None:
            raise errors.Unsupported(f"this host cannot {what} for a plugin in Python: it gave it no broker")
        return self._broker_


__all__ = ["Host", "Model", "Response", "State"]
