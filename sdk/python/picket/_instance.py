"""Runs the plugins of one process: makes instances from their configuration, hands them their work one call at a time,
and ends them. It behaves like sdk/internal/instance does for plugins in Go."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any, Callable, TypeVar

from . import _check, config, _context, errors, records
from ._context import Context
from .plugins import Plugin
from .types import CollectRequest, DeliveryStatus, Finding, Notice, Receipt, Sample, Scope, Sighting

MAX_INSTANCES = 1024

R = TypeVar("R")


@dataclass
class InstanceConfig:
    """Everything that an instance gets from its host."""

    instance: str
    plugin: str
    config: bytes = b"{}"
    secrets: dict[str, str] = field(default_factory=dict)
    grants: list[dict[str, Any]] = field(default_factory=list)
    state_dir: str = ""
    deny_dial: list[str] = field(default_factory=list)
    channel: int = 0
    generation: int = 0


class Batch:
    """Records of one kind, for a detector or an observer. They are structured arrays whose memory is only valid during the
    call: copy what is kept. How records are cut into batches must not change what is found."""

    def __init__(self, capture: str, rows: records.Rows) -> None:
        self.capture = capture
        self._rows = rows

    @property
    def kind(self) -> str:
        """What the batch holds: flows, packets, or a kind of facts."""
        schema = self._rows.schema
        return str(records.SCHEMAS[schema].get("facts", schema + "s"))

    @property
    def flows(self) -> records.Flows:
        """The flows, none when the batch holds something else."""
        return self._rows if isinstance(self._rows, records.Flows) else records.none("flow")  # type: ignore[return-value]

    @property
    def packets(self) -> records.PacketRows:
        """The packets, none when the batch holds something else."""
        return self._rows if isinstance(self._rows, records.PacketRows) else records.none("packet")  # type: ignore[return-value]

    def facts(self, kind: str) -> records.Rows:
        """The facts of a kind, for example "dns", none when the batch holds something else. docs/records.md has their columns."""
        schema = records.FACTS[kind]
        return self._rows if self._rows.schema == schema else records.none(schema)

    def rows(self) -> Any:
        """Each record as a dict, copied out; convenient, and slow: prefer the columns."""
        return records.rows_of(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


class SampleSink:
    """Takes the samples of a collector. It raises when the work should stop."""

    def __init__(self, put: Callable[[Sample], None]) -> None:
        self.emit = put

    def sample(self, metric: str, value: float, *, unit: str = "", type: str = "gauge",
               labels: dict[str, str] | None = None, time: Any = None) -> None:
        """Emits one measured value; see Sample."""
        self.emit(Sample(metric, value, unit, type, dict(labels or {}), time))


class SightingSink:
    """Takes the sightings of a discovery plugin. It raises when the work should stop."""

    def __init__(self, put: Callable[[Sighting], None]) -> None:
        self.emit = put

    def sighting(self, ip: Any = None, *, mac: str = "", hostname: str = "", facts: dict[str, str] | None = None,
                 confidence: float = 1.0, time: Any = None, source: str = "", packet: int = 0) -> None:
        """Emits what was seen of a device; see Sighting."""
        self.emit(Sighting(ip, mac, hostname, dict(facts or {}), confidence, time, source, packet))


class FindingSink:
    """Takes the findings of a detector. It raises when the work should stop."""

    def __init__(self, put: Callable[[Finding], None]) -> None:
        self.emit = put

    def finding(self, rule: str, **fields: Any) -> None:
        """Emits one finding; the fields are those of Finding."""
        self.emit(Finding(rule, **fields))


class Running:
    """One instance. busy is held while a call is at work."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.inst: Any = None
        self.ctx = Context()
        self.rules = {r.id for r in plugin.rules}
        self._turn = threading.Condition()
        self._busy = False
        self.progress = 0  # grows with each call that begins or ends, and with what it emits
        self.at_work = 0  # calls

    def counted(self, emit: Callable[[R], None]) -> Callable[[R], None]:
        """Counts what is emitted as progress."""

        def put(v: R) -> None:
            emit(v)
            self.progress += 1

        return put

    def acquire(self, ctx: Context) -> bool:
        """Waits for the instance's turn, False when the context ends first."""

        def wake() -> None:
            with self._turn:
                self._turn.notify_all()

        ctx.on_cancel(wake)
        with self._turn:
            while self._busy:
                if ctx.cancelled:
                    return False
                self._turn.wait(ctx.remaining())
            self._busy = True
            return True

    def try_acquire(self) -> bool:
        with self._turn:
            if self._busy:
                return False
            self._busy = True
            return True

    def release(self) -> None:
        with self._turn:
            self._busy = False
            self._turn.notify()


class Set:
    """Holds the instances of one process."""

    def __init__(self, plugins: list[Plugin], new_host: Callable[[InstanceConfig], Any]) -> None:
        self._plugins = {p.id: p for p in plugins}
        self._new_host = new_host
        self._lock = threading.Lock()
        self._by_id: dict[str, Running] = {}

    def plugins(self) -> list[Plugin]:
        return [self._plugins[k] for k in sorted(self._plugins)]

    def get(self, name: str) -> Running:
        with self._lock:
            r = self._by_id.get(name)
        if r is None:
            raise errors.Internal(f"there is no instance {name!r} in this process")
        return r

    # --- life ---

    def configure(self, ctx: Context, cfg: InstanceConfig) -> None:
        """Makes and starts an instance. When it fails there is none."""
        plugin = self._plugins.get(cfg.plugin)
        if plugin is None:
            raise errors.InvalidConfig(f"there is no plugin {cfg.plugin!r} in this process")
        if not _check.instance_name(cfg.instance):
            raise errors.InvalidConfig(f"instance name {cfg.instance!r}")
        r = Running(plugin)
        r.try_acquire()  # work that comes too early waits for the start
        with self._lock:
            if cfg.instance in self._by_id:
                raise errors.InvalidConfig(f"instance {cfg.instance} exists already; stop it first")
            if len(self._by_id) >= MAX_INSTANCES:
                raise errors.InvalidConfig(f"this process has {MAX_INSTANCES} instances already")
            self._by_id[cfg.instance] = r
        try:
            self._start(ctx, r, cfg)
        except BaseException:
            with self._lock:
                if self._by_id.get(cfg.instance) is r:
                    del self._by_id[cfg.instance]
            r.ctx.cancel()
            raise
        finally:
            r.release()

    def _start(self, ctx: Context, r: Running, cfg: InstanceConfig) -> None:
        decoded = config.decode(cfg.config, r.plugin.config, cfg.secrets)
        inst = r.plugin.new()
        if r.plugin.config is not None:
            inst.config = decoded
        if r.plugin.has("validate"):
            try:
                within(ctx, inst.validate)
            except errors.Error:
                raise
            except Exception as e:
                raise errors.InvalidConfig(f"configuration: {e}") from e
        inst.host = self._new_host(cfg)
        if r.plugin.has("start"):
            try:
                within(ctx, inst.start)
            except BaseException as e:
                self._stop_failed(ctx, r, inst, e)
        r.inst = inst

    @staticmethod
    def _stop_failed(ctx: Context, r: Running, inst: Any, err: BaseException) -> None:
        """Stops what failed to start, and says so when that failed too."""
        if r.plugin.has("stop"):
            try:
                within(ctx, inst.stop)
            except BaseException as second:
                raise errors.join(err, second) from err  # type: ignore[misc]
        raise err

    def stop(self, ctx: Context, name: str) -> None:
        """Ends an instance: cancels running work, waits for it, then stops it. Stopping what is not there is fine. When
        the work does not end before ctx does, the instance is left to the end of the process."""
        with self._lock:
            r = self._by_id.pop(name, None)
        if r is None:
            return
        r.ctx.cancel()
        if not r.acquire(ctx):
            raise errors.Temporary(f"instance {name} is still at work")
        try:
            if r.inst is not None and r.plugin.has("stop"):
                within(ctx, r.inst.stop)
        finally:
            r.release()

    def stop_all(self, ctx: Context) -> None:
        with self._lock:
            names = sorted(self._by_id)
        problems = []
        for name in names:
            try:
                self.stop(ctx, name)
            except Exception as e:
                problems.append(f"stop {name}: {errors.text_of(e)}")
        if problems:
            raise errors.Internal("\n".join(problems))

    # --- work ---

    def _call(self, ctx: Context, name: str, work: Callable[[Running], R]) -> R:
        r = self.get(name)
        both = Context(parents=(ctx, r.ctx))
        try:
            if not r.acquire(both):
                if r.ctx.cancelled:
                    raise errors.Temporary(f"instance {name} was stopped")
                both.check()
            try:
                if r.ctx.cancelled or r.inst is None:
                    raise errors.Temporary(f"instance {name} was stopped")
                r.progress += 1
                r.at_work = 1
                return within(both, work, r)
            finally:
                r.progress += 1
                r.at_work = 0
                r.release()
        finally:
            both.close()

    def collect(self, ctx: Context, name: str, req: CollectRequest, emit: Callable[[Sample], None]) -> None:
        def work(r: Running) -> None:
            _kind(r, "collect")
            gate = _check.Gate(_context.context(), _check.MAX_SAMPLES, "samples", _check.sample, r.counted(emit))
            _gated(gate, lambda: r.inst.collect(req, SampleSink(gate.put)))

        self._call(ctx, name, work)

    def watch(self, ctx: Context, name: str, emit: Callable[[Sample], None]) -> None:
        """Runs watch beside the other calls, until ctx ends or the instance is stopped."""
        r = self.get(name)
        if not r.plugin.has("watch") or r.inst is None:
            raise errors.Unsupported(f"{r.plugin.id} does not watch")
        both = Context(parents=(ctx, r.ctx))
        gate = _check.Gate(both, 1 << 62, "samples", _check.sample, r.counted(emit))
        try:
            within(both, lambda: _gated(gate, lambda: r.inst.watch(SampleSink(gate.put))))
        finally:
            both.close()

    def discover(self, ctx: Context, name: str, scope: Scope, emit: Callable[[Sighting], None]) -> None:
        def work(r: Running) -> None:
            _kind(r, "discover")
            gate = _check.Gate(_context.context(), _check.MAX_SIGHTINGS, "sightings", _check.sighting(scope), r.counted(emit))
            _gated(gate, lambda: r.inst.discover(scope, SightingSink(gate.put)))

        self._call(ctx, name, work)

    def inspect(self, ctx: Context, name: str, capture: str, frame: Any, emit: Callable[[Any], None],
                *, verify: bool = True) -> None:
        """Shows a frame to a detector, which emits findings, or to an observer, which emits sightings."""

        def work(r: Running, sink: Any) -> None:
            batch = Batch(capture, records.decode(frame, verify=verify))
            (r.inst.observe if r.plugin.observes else r.inst.inspect)(batch, sink)

        self._reading(ctx, name, emit, work)

    def flush(self, ctx: Context, name: str, emit: Callable[[Any], None]) -> None:
        """Ends a capture."""
        self._reading(ctx, name, emit, lambda r, sink: (r.inst.end_capture if r.plugin.observes else r.inst.flush)(sink))

    def _reading(self, ctx: Context, name: str, emit: Callable[[Any], None], work: Callable[[Running, Any], None]) -> None:
        def call(r: Running) -> None:
            if r.plugin.observes:
                seen = _check.Gate(_context.context(), _check.MAX_SIGHTINGS, "sightings", _check.observed, r.counted(emit))
                _gated(seen, lambda: work(r, SightingSink(seen.put)))
                return
            if not r.plugin.has("inspect"):
                raise errors.Unsupported(f"{r.plugin.id} is a {r.plugin.kind} and cannot detect")
            check = _check.finding(r.rules, r.plugin.id)
            gate = _check.Gate(_context.context(), _check.MAX_FINDINGS, "findings", check, r.counted(emit))
            _gated(gate, lambda: work(r, FindingSink(gate.put)))

        self._call(ctx, name, call)

    def notify(self, ctx: Context, name: str, notice: Notice) -> Receipt:
        def work(r: Running) -> Receipt:
            _kind(r, "notify")
            return _check.receipt(r.inst.notify(notice) or Receipt())

        return self._call(ctx, name, work)

    def undo(self, ctx: Context, name: str, receipt: Receipt) -> None:
        def work(r: Running) -> None:
            _kind(r, "undo")
            r.inst.undo(receipt)

        self._call(ctx, name, work)

    def status(self, ctx: Context, name: str, receipt: Receipt) -> DeliveryStatus:
        def work(r: Running) -> DeliveryStatus:
            _kind(r, "status")
            return _check.status(r.inst.status(receipt))

        return self._call(ctx, name, work)

    def health(self, ctx: Context, name: str) -> tuple[int, int]:
        """Asks an instance whether it can work, and returns its progress and how many calls are at work. One that is at
        work can: the deadline of that call watches over it."""
        r = self.get(name)
        if r.try_acquire():
            try:
                if r.inst is not None and r.plugin.has("health"):
                    within(ctx, r.inst.health)
            finally:
                r.release()
        return r.progress, r.at_work

    def snapshot(self, ctx: Context, name: str) -> bytes:
        def work(r: Running) -> bytes:
            if not r.plugin.has("snapshot"):
                raise errors.Unsupported(f"{r.plugin.id} keeps no state")
            state = bytes(r.inst.snapshot())
            if len(state) > _check.MAX_STATE:
                raise errors.Internal(f"snapshot of {len(state)} bytes is larger than {_check.MAX_STATE}")
            return state

        return self._call(ctx, name, work)

    def restore(self, ctx: Context, name: str, state: bytes) -> None:
        def work(r: Running) -> None:
            if not r.plugin.has("restore"):
                raise errors.Unsupported(f"{r.plugin.id} keeps no state")
            r.inst.restore(state)

        self._call(ctx, name, work)


def within(ctx: Context, work: Callable[..., R], *args: Any) -> R:
    """Runs work with ctx as the context of this thread."""
    token = _context.enter(ctx)
    try:
        return work(*args)
    finally:
        _context.leave(token)


def _kind(r: Running, method: str) -> None:
    if not r.plugin.has(method):
        raise errors.Unsupported(f"{r.plugin.id} is a {r.plugin.kind} and cannot {method}")


def _gated(gate: "_check.Gate[Any]", work: Callable[[], None]) -> None:
    """Runs a call whose sink is the gate, shuts it, and raises what the call raised or what was refused."""
    failure: BaseException | None = None
    try:
        work()
    except BaseException as e:
        failure = e
    failure = gate.result(failure)
    if failure is not None:
        raise failure
