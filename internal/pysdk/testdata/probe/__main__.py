"""Plugins that do what the tests ask of them."""

import json
import time
from dataclasses import dataclass, field
from datetime import timedelta

import picket


@dataclass
class Inner:
    depth: int = picket.field(default=2, min=0, max=9, doc="How deep.")
    password: str = picket.field(secret=True, doc="Kept to itself.")


@dataclass
class Config:
    name: str = picket.field(required=True, doc="What it is called.")
    mode: str = picket.field(default="count", enum=["count", "wait", "boom", "temporary", "nan", "stubborn", "print"], doc="What it does.")
    count: int = picket.field(default=3, min=1, max=300000, doc="How many.")
    ratio: float = picket.field(default=0.5, min=0, max=1, doc="A share.")
    pause: timedelta = picket.field(default="1m30s", min="1s", max="2h", doc="A while.")
    targets: list[str] = picket.field(default=["example.org:443"], format="hostport", max=3, doc="Whom to ask.")
    tags: dict[str, str] = picket.field(doc="Names and values.")
    site: str = picket.field(format="url", doc="A page.")
    inner: Inner = picket.field(doc="More.")
    plain: bool = False
    nets: list[str] = field(default_factory=list, metadata={"picket": {"format": "cidr", "doc": "Networks."}})


@picket.collector(id="test/collector", summary="Counts.")
class Collector:
    config: Config

    def validate(self):
        if self.config.name == "bad":
            raise ValueError("the name is bad")

    def start(self):
        if self.config.name == "no start":
            raise picket.Downstream("it does not start")
        self.host.log.info("started", extra={"deep": self.config.inner.depth})

    def stop(self):
        if hasattr(self, "host"):
            self.host.log.info("stopped")

    def collect(self, req, sink):
        mode = self.config.mode
        for n in range(self.config.count):
            sink.sample("test.count", n, unit="1", labels={"n": str(n % 7), "ü": "ß"}, time=req.time)
        if mode == "wait":
            picket.context().wait(60)
            picket.context().check()
        elif mode == "stubborn":
            time.sleep(3600)
        elif mode == "boom":
            raise RuntimeError("boom")
        elif mode == "temporary":
            raise picket.Temporary("later", retry_after=7)
        elif mode == "nan":
            sink.sample("test.nan", float("nan"))
        elif mode == "print":
            print("printed by the plugin", flush=True)
            self.host.state.put("seen", b"x" * 1000)
            sink.sample("test.state", len(self.host.state.get("seen")), type=picket.COUNTER)
            sink.sample("test.secret", len(self.host.secret("inner.password")) + len(self.config.inner.password))


@picket.collector(id="test/watcher", summary="Watches.")
class Watcher:
    def collect(self, req, sink):
        pass

    def watch(self, sink):
        n = 0
        while not picket.context().wait(0.01):
            sink.sample("test.watch", n)
            n += 1


@picket.discovery(id="test/discovery", summary="Sees.")
class Discovery:
    def discover(self, scope, sink):
        for p in scope.prefixes:
            sink.sighting(p[1], mac="02:00:00:00:00:01", hostname="a.example", facts={"rtt_seconds": "0.1"}, confidence=0.9)


@picket.discovery(id="test/stray", summary="Leaves its scope.")
class Stray:
    def discover(self, scope, sink):
        sink.sighting("192.0.2.1")
        sink.sighting(scope.prefixes[0][2])


@picket.discovery(id="test/observer", summary="Watches.", facts=["dns", "messages"], flows=True, features=True)
class Observer:
    def start(self):
        self.messages = 0

    def observe(self, batch, sink):
        self.messages += len(batch.facts("messages"))
        names = batch.facts("dns")
        for i in range(len(names)):
            sink.sighting(names.addr("client", i), hostname=names.text("query", i), source=names.text("protocol", i),
                          facts={"answers": " ".join(names.texts("answers", i))}, packet=int(names["packet"][i]), time=names["time"][i])

    def end_capture(self, sink):
        sink.sighting(mac="00:11:22:33:44:55", facts={"messages": str(self.messages)}, time=9_000_000_000)


@picket.detector(
    id="test/detector", summary="Finds big flows.", flows=True,
    rules=[picket.Rule("big", "A flow with many bytes.", severity="low", techniques=["T1041"], false_positives=["Backups."])])
class Detector:
    def __init__(self):
        self.seen = 0
        self.biggest = 0

    def inspect(self, batch, sink):
        flows = batch.flows
        if batch.capture == "undeclared":
            sink.finding("other")
        if batch.capture == "slow":
            picket.context().wait(60)
        self.seen += len(flows)
        big = flows[flows["fwd_bytes"] > 1000]
        for i in range(len(big)):
            sink.finding("big", severity="low", risk=40, confidence=0.5, techniques=["T1041"], src=str(big.src(i)),
                         dst=str(big.dst(i)), start=big["start"][i], end=big["end"][i], packets=big.packets(i),
                         flows=[big.ref(i)], features={"bytes": big["fwd_bytes"][i]}, summary=f"{big['fwd_bytes'][i]} bytes")

    def flush(self, sink):
        if self.seen:
            sink.finding("big", severity="info", risk=0, summary=f"seen {self.seen}", start=0, end=1)
        self.seen = 0

    def snapshot(self):
        return json.dumps({"version": 1, "seen": self.seen}).encode()

    def restore(self, state):
        self.seen = json.loads(state)["seen"]


@picket.notifier(id="test/notifier", summary="Tells.")
class Notifier:
    def notify(self, notice):
        if notice.event == "test":
            raise picket.Downstream("nobody listens")
        return picket.Receipt(f"{notice.id}/{notice.alert.rule if notice.alert else ''}", "https://example.org/1", True)

    def undo(self, receipt):
        if receipt.foreign_id != "known":
            raise picket.Downstream("unknown")

    def status(self, receipt):
        return picket.DeliveryStatus("closed", "Done", 5)


import net  # noqa: E402,F401 - declares one more

picket.main()
