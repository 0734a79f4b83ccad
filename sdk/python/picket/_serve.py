"""Serves the declared plugins of this program to the host that started it, over the protocol of go-plugin."""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from concurrent import futures
from typing import Any, Callable, Iterator

from . import _log, errors
from ._context import Context
from .plugins import registered

COOKIE = ("PICKET_PLUGIN", "1f9c0c2e-picket-plugin")
LIFELINE_ENV = "PICKET_LIFELINE_FD"
EXIT_HOST_GONE = 5
DRAIN = 1.0  # seconds that instances may take to stop once the host has ended the connection

_CHUNK_SAMPLES = 512
_CHUNK_BYTES = 1 << 20
_THREADS = 256  # calls at once; threads are made when they are needed

_log_ = logging.getLogger("picket")


def main() -> None:
    """Serves all declared plugins and exits when the host is done or gone. With the argument "describe" it prints their
    descriptions as JSON instead. Put it at the end of the program."""
    if sys.argv[1:2] == ["describe"]:
        print(json.dumps([p.describe() for p in registered()], indent=2, ensure_ascii=False))
        return
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        sys.stderr.write("This program is a Picket plugin. It is started by picketd; to try it, use: picket plugin run\n")
        sys.exit(1)
    if not registered():
        sys.stderr.write("This program declares no plugin: put @picket.collector(...) or its like above a class\n")
        sys.exit(1)
    _log.setup()
    try:
        _watch_lifeline()
        _Server().run()
    except Exception:
        _log_.exception("the plugin cannot start")
        os._exit(1)
    os._exit(0)  # threads of the plugin do not hold up the end


def take_fd(name: str) -> int | None:
    """The descriptor that an environment variable names. The variable is removed, so that nobody else takes it."""
    text = os.environ.pop(name, None)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not 3 <= int(text) < 1 << 16:
        raise ValueError(f"{name}={text!r} is not a descriptor")
    fd = int(text)
    os.fstat(fd)
    os.set_inheritable(fd, False)
    return fd


def _watch_lifeline() -> None:
    """Ends the process when the descriptor that only the host holds open is closed: a host that was killed leaves no
    plugin behind."""
    fd = take_fd(LIFELINE_ENV)
    if fd is None:
        return

    def watch() -> None:
        try:
            while os.read(fd, 1):
                pass
        except OSError:
            pass
        os._exit(EXIT_HOST_GONE)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


class _Server:
    """The gRPC server of the process."""

    def __init__(self) -> None:
        # Imported late: "describe" and a missing cookie need none of it.
        import grpc

        from . import _broker, _host, _instance, _plane, _wire

        self._grpc, self._wire, self._instance, self._plane_module = grpc, _wire, _instance, _plane
        broker = _broker.connect(take_fd(_broker.ENV))
        self.set = _instance.Set(registered(), lambda cfg: _host.Host(cfg, broker))
        records = take_fd(_plane.ENV)
        self.plane = _plane.Plane(records, self.set) if records is not None else None
        self._done = threading.Event()
        self._handlers = self._methods()

    # --- transport ---

    def run(self) -> None:
        grpc = self._grpc
        options = [("grpc.max_receive_message_length", self._wire.MAX_MESSAGE),
                   ("grpc.max_send_message_length", self._wire.MAX_MESSAGE),
                   ("grpc.max_metadata_size", 64 << 10), ("grpc.so_reuseport", 0),
                   ("grpc.http2.lookahead_bytes", 4 << 20), ("grpc.http2.max_frame_size", 1 << 20)]
        server = grpc.server(futures.ThreadPoolExecutor(_THREADS), handlers=[_Router(self)], options=options)
        if self.plane:
            self.plane.start()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the host's terminal, not for us
        print(self._listen(server), flush=True)
        os.dup(1)  # the host reads it until the end
        os.dup2(2, 1)  # what the plugin prints goes to the log
        self._done.wait()
        self._drain()
        server.stop(0)

    def _listen(self, server: Any) -> str:
        """Opens the socket and returns the line that tells the host where it is."""
        folder = os.environ.get("PLUGIN_UNIX_SOCKET_DIR", "")
        if not folder:
            raise ValueError("PLUGIN_UNIX_SOCKET_DIR is not set")
        path = os.path.join(folder, "s")
        if len(os.fsencode(path)) > 100:
            raise ValueError(f"the path of the socket {path!r} is longer than 100 bytes: choose a shorter folder")
        cert = os.environ.get("PLUGIN_CLIENT_CERT", "").encode()
        if not cert:  # a server without TLS would serve anybody
            raise ValueError("PLUGIN_CLIENT_CERT is not set")
        text = self._listen_tls(server, folder, path, cert)
        return f"1|1|unix|{path}|grpc|{text}"

    def _listen_tls(self, server: Any, folder: str, path: str, client_cert: bytes) -> str:
        from . import _tls

        identity = _tls.Identity()
        relay = _tls.needs_relay(client_cert)
        inner, trusted = (os.path.join(folder, "g"), identity.cert) if relay else (path, client_cert)
        server.add_secure_port("unix:" + inner, self._grpc.ssl_server_credentials(
            [(identity.key, identity.cert)], root_certificates=trusted, require_client_auth=True))
        server.start()
        if relay:
            self._relay = _tls.Relay(path, inner, identity, identity, client_cert)
        return base64.b64encode(identity.der).decode().rstrip("=")

    def _drain(self) -> None:
        ctx = Context(time.monotonic() + DRAIN)
        try:
            self.set.stop_all(ctx)
        except Exception as e:
            _log_.warning("stop: %s", e)

    def handler(self, method: str) -> Any:
        return self._handlers.get(method)

    # --- calls ---

    def _methods(self) -> dict[str, Any]:
        grpc = self._grpc
        out = {
            "/grpc.health.v1.Health/Check": grpc.unary_unary_rpc_method_handler(lambda _, __: b"\x08\x01"),  # SERVING
            "/plugin.GRPCController/Shutdown": grpc.unary_unary_rpc_method_handler(self._shutdown),
        }
        calls = {"Describe": self._describe, "Configure": self._configure, "Health": self._health, "Snapshot": self._snapshot,
                 "Restore": self._restore, "Stop": self._stop, "Inspect": self._inspect, "Flush": self._flush,
                 "Notify": self._notify, "Undo": self._undo, "Status": self._status}
        streams = {"Collect": self._collect, "Watch": self._watch, "Discover": self._discover}
        for path, (request, response, streaming) in self._wire.service_methods().items():
            name = path.rpartition("/")[2]
            if streaming and name in streams:
                out[path] = grpc.unary_stream_rpc_method_handler(
                    self._streaming(streams[name]), request.FromString, response.SerializeToString)
            elif not streaming and name in calls:
                out[path] = grpc.unary_unary_rpc_method_handler(
                    self._unary(calls[name], response), request.FromString, response.SerializeToString)
        return out

    def _shutdown(self, _: bytes, __: Any) -> bytes:
        threading.Timer(0.01, self._done.set).start()  # after the answer has left
        return b""

    def _unary(self, call: Callable[[Context, Any], Any], response: Any) -> Callable[[Any, Any], Any]:
        def handle(request: Any, rpc: Any) -> Any:
            ctx = _context_of(rpc)
            try:
                out = call(ctx, request)
                return response() if out is None else out
            except BaseException as e:
                self._failed(rpc, e)
            finally:
                ctx.close()

        return handle

    def _streaming(self, call: Callable[[Context, Any, Callable[[Any], None]], None]) -> Callable[[Any, Any], Iterator[Any]]:
        """The call runs in a thread of its own and its messages go through a short queue, so that a host that does not
        read holds it up."""

        def handle(request: Any, rpc: Any) -> Iterator[Any]:
            ctx = _context_of(rpc)
            messages: queue.Queue[Any] = queue.Queue(4)
            end = object()
            failure: list[BaseException] = []

            def put(message: Any) -> None:
                while True:
                    try:
                        messages.put(message, timeout=0.05)
                        return
                    except queue.Full:
                        if message is not end:
                            ctx.check()
                        elif ctx.cancelled:
                            return

            def work() -> None:
                try:
                    call(ctx, request, put)
                except BaseException as e:
                    failure.append(e)
                put(end)

            worker = threading.Thread(target=work, name="stream", daemon=True)
            worker.start()
            try:
                while (message := messages.get()) is not end:
                    yield message
                if failure:
                    self._failed(rpc, failure[0])
            finally:
                ctx.close()

        return handle

    def _failed(self, rpc: Any, err: BaseException) -> None:
        """Ends a call with the status of the error; its class travels in the details."""
        if not isinstance(err, errors.Error) and not isinstance(err, TimeoutError):
            _log_.error("%s", errors.text_of(err), exc_info=(type(err), err, err.__traceback__))
        code = self._code(err)
        rpc.set_trailing_metadata((("grpc-status-details-bin", self._wire.status_details(err, code.value[0])),))
        rpc.abort(code, errors.cut(errors.text_of(err), 1024))

    def _code(self, err: BaseException) -> Any:
        codes = self._grpc.StatusCode
        if isinstance(err, errors.DeadlineExceeded):
            return codes.DEADLINE_EXCEEDED
        if isinstance(err, errors.Cancelled):
            return codes.CANCELLED
        return {"invalid_config": codes.INVALID_ARGUMENT, "temporary": codes.UNAVAILABLE, "downstream": codes.UNAVAILABLE,
                "unsupported": codes.UNIMPLEMENTED, "permission_denied": codes.PERMISSION_DENIED,
                }.get(errors.class_of(err), codes.INTERNAL)

    def _describe(self, _: Context, __: Any) -> Any:
        return self._wire.message("DescribeResponse")(
            plugins=[self._wire.description_to_pb(p) for p in self.set.plugins()])

    def _configure(self, ctx: Context, r: Any) -> None:
        cfg = self._wire.instance_config_from_pb(r)
        self.set.configure(ctx, cfg)
        if self.plane:
            self.plane.open(cfg.channel, cfg.instance, r.deadline_nanos / 1e9 if r.deadline_nanos > 0 else None)

    def _health(self, ctx: Context, r: Any) -> Any:
        progress, busy = self.set.health(ctx, r.instance)
        return self._wire.message("HealthResponse")(progress=progress, busy=busy)

    def _snapshot(self, ctx: Context, r: Any) -> Any:
        return self._wire.message("SnapshotResponse")(state=self.set.snapshot(ctx, r.instance))

    def _restore(self, ctx: Context, r: Any) -> None:
        self.set.restore(ctx, r.instance, r.state)

    def _stop(self, ctx: Context, r: Any) -> None:
        if self.plane:
            self.plane.shut(r.instance)
        self.set.stop(ctx, r.instance)

    def _inspect(self, ctx: Context, r: Any) -> Any:
        return self._found("InspectResponse", lambda put: self.set.inspect(
            ctx, r.instance, r.capture, r.frame, put, verify=False))

    def _flush(self, ctx: Context, r: Any) -> Any:
        return self._found("FlushResponse", lambda put: self.set.flush(ctx, r.instance, put))

    def _found(self, name: str, work: Callable[[Callable[[Any], None]], None]) -> Any:
        found = self._plane_module.Found()
        failure: BaseException | None = None
        try:
            work(found.put)
        except BaseException as e:
            failure = e
        if failure is not None and found.empty():
            raise failure
        return found.response(name, failure)

    def _notify(self, ctx: Context, r: Any) -> Any:
        if not r.HasField("notice"):
            raise errors.Internal("notify without a notice")
        receipt = self.set.notify(ctx, r.instance, self._wire.notice_from_pb(r.notice))
        return self._wire.message("NotifyResponse")(receipt=self._wire.receipt_to_pb(receipt))

    def _undo(self, ctx: Context, r: Any) -> None:
        self.set.undo(ctx, r.instance, self._wire.receipt_from_pb(r.receipt))

    def _status(self, ctx: Context, r: Any) -> Any:
        return self._wire.status_to_pb(self.set.status(ctx, r.instance, self._wire.receipt_from_pb(r.receipt)))

    def _collect(self, ctx: Context, r: Any, send: Callable[[Any], None]) -> None:
        request = self._wire.collect_request_from_pb(r)
        self._samples(ctx, r, send, "CollectResponse", lambda put: self.set.collect(ctx, r.instance, request, put))

    def _watch(self, ctx: Context, r: Any, send: Callable[[Any], None]) -> None:
        self._samples(ctx, r, send, "WatchResponse", lambda put: self.set.watch(ctx, r.instance, put))

    def _samples(self, ctx: Context, r: Any, send: Callable[[Any], None], name: str,
                 work: Callable[[Callable[[Any], None]], None]) -> None:
        """Runs a call whose samples travel over the record plane when the host gave it a number, else in the stream."""
        if r.call and self.plane:
            call = self.plane.call(ctx, r.instance, r.call, r.credit_frames, r.credit_bytes)
            try:
                _both(lambda: work(call.put), call.finish)
            finally:
                call.close()
            return
        stream = _Chunks(send, self._wire.message(name), self._wire.sample_to_pb)
        _both(lambda: work(stream.put), stream.flush)

    def _discover(self, ctx: Context, r: Any, send: Callable[[Any], None]) -> None:
        response = self._wire.message("DiscoverResponse")
        self.set.discover(ctx, r.instance, self._wire.scope_from_pb(r),
                          lambda s: send(response(sightings=[self._wire.sighting_to_pb(s)])))


class _Router:
    """Finds the handler of a method; grpcio asks for an object with this method and nothing more."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def service(self, details: Any) -> Any:
        return self._server.handler(details.method)


class _Chunks:
    """Sends samples in messages of a reasonable size."""

    def __init__(self, send: Callable[[Any], None], response: Any, convert: Callable[[Any], Any]) -> None:
        self._send, self._response, self._convert = send, response, convert
        self._held: list[Any] = []
        self._size = 0

    def put(self, s: Any) -> None:
        m = self._convert(s)
        self._held.append(m)
        self._size += m.ByteSize()
        if len(self._held) >= _CHUNK_SAMPLES or self._size >= _CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._held:
            held, self._held, self._size = self._held, [], 0
            self._send(self._response(samples=held))


def _both(work: Callable[[], None], finish: Callable[[], None]) -> None:
    """What was emitted before a failure is sent all the same."""
    failure: BaseException | None = None
    for step in (work, finish):
        try:
            step()
        except BaseException as e:
            failure = errors.join(failure, e)
    if failure is not None:
        raise failure


def _context_of(rpc: Any) -> Context:
    left = rpc.time_remaining()
    # A call without a deadline has one far beyond what a clock can hold.
    ctx = Context(None if left is None or left > 1e9 else time.monotonic() + left)
    if not rpc.add_callback(ctx.cancel):
        ctx.cancel()
    return ctx
