"""Mutual TLS between host and plugin, the way that go-plugin does it: each side has a fresh certificate for itself and
knows that of the other.

The TLS of grpcio does not take certificates with keys on the curve P-521, which go-plugin makes. For such a host OpenSSL
ends the connection here and hands what it deciphered to grpcio over a second connection inside of this process, which
has a certificate of its own that never leaves the memory: nobody else can connect to either.
"""

from __future__ import annotations

import datetime
import logging
import os
import socket
import ssl
import threading
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_log = logging.getLogger("picket")
_CHUNK = 128 << 10
_HELD = 1 << 20  # bytes that wait in one direction


class Identity:
    """A key and a certificate for itself. The name is localhost, which is what go-plugin asks for."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.timezone.utc)
        cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=30))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.der = cert.public_bytes(serialization.Encoding.DER)
        self.cert = cert.public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def needs_relay(client_cert: bytes) -> bool:
    """Whether grpcio cannot check the signatures of this certificate's key."""
    key = x509.load_pem_x509_certificate(client_cert).public_key()
    return isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name not in ("secp256r1", "secp384r1")


def context(server: bool, identity: Identity, peer: bytes, folder: str) -> ssl.SSLContext:
    """The TLS of one end, which trusts the peer's certificate and no other."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    ctx.minimum_version = ssl.TLSVersion.TLSv1_2
    ctx.check_hostname = False
    ctx.verify_mode = ssl.CERT_REQUIRED
    ctx.load_verify_locations(cadata=peer.decode())
    ctx.set_alpn_protocols(["h2"])
    # OpenSSL reads keys from files only. This one lives for a moment, in the folder that is the plugin's own.
    path = os.path.join(folder, "k")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(identity.key + identity.cert)
        ctx.load_cert_chain(path)
    finally:
        os.unlink(path)
    return ctx


class Relay:
    """Accepts the host's connections at path and passes what they carry to the inner server."""

    def __init__(self, path: str, inner: str, identity: Identity, inner_identity: Identity, client_cert: bytes) -> None:
        folder = os.path.dirname(path)
        self._inner = inner
        self._outer_tls = context(True, identity, client_cert, folder)
        self._inner_tls = context(False, inner_identity, inner_identity.cert, folder)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        self._listener.listen(8)
        self._slots = threading.BoundedSemaphore(8)  # connections at once
        threading.Thread(target=self._accept, name="tls", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            self._slots.acquire()
            threading.Thread(target=self._serve, args=(conn,), name="tls connection", daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            conn.settimeout(10)
            with self._outer_tls.wrap_socket(conn, server_side=True) as outer:
                raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                raw.connect(self._inner)
                with self._inner_tls.wrap_socket(raw) as inner:
                    _pump(outer, inner)
        except OSError as e:
            _log.debug("a connection of the host ended: %s", e)
        finally:
            conn.close()
            self._slots.release()


def _pump(a: ssl.SSLSocket, b: ssl.SSLSocket) -> None:
    """Copies in both directions until one side ends. One thread: a TLS connection must not be used by two."""
    a.setblocking(False)
    b.setblocking(False)
    held: dict[Any, bytearray] = {a: bytearray(), b: bytearray()}  # what has to be written to it
    other = {a: b, b: a}
    with DefaultSelector() as selector:
        for s in (a, b):
            selector.register(s, EVENT_READ)
        while True:
            progress = False
            for s in (a, b):
                if len(held[other[s]]) < _HELD:
                    data = _read(s)
                    if data == b"":
                        return
                    if data:
                        held[other[s]] += data
                        progress = True
                progress |= _write(s, held[s])
            if progress:
                continue
            for s in (a, b):
                want = EVENT_READ if len(held[other[s]]) < _HELD else 0
                selector.modify(s, want | (EVENT_WRITE if held[s] else 0) or EVENT_WRITE)
            selector.select()


def _read(s: ssl.SSLSocket) -> bytes | None:
    try:
        return s.recv(_CHUNK)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def _write(s: ssl.SSLSocket, held: bytearray) -> bool:
    if not held:
        return False
    try:
        n = s.send(memoryview(bytes(held[:_CHUNK])))
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    del held[:n]
    return n > 0
