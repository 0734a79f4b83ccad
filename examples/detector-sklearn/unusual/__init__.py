"""A detector that asks an isolation forest how unusual each flow is, and reports hosts with many unusual ones."""

import json
import pkgutil
from dataclasses import dataclass

import picket

from .features import COLUMNS, features

MAX_HOSTS = 10_000
EVIDENCE = 20  # flows that a finding names


@dataclass
class Config:
    threshold: float = picket.field(default=-0.6, min=-1, max=0, doc="Flows with a score below it are unusual. Lower finds less.")
    min_flows: int = picket.field(default=20, min=1, max=100000, doc="Unusual flows of a host that make a finding.")


@picket.detector(
    id="acme/unusual", summary="Finds hosts whose flows a model of the usual traffic does not know.", flows=True,
    rules=[picket.Rule("unusual", "A host with many flows unlike those that the model has learnt.", severity="medium",
                       techniques=["T1046"], false_positives=["A new service, a backup, or a scan by the administrator."])])
class Unusual:
    config: Config

    def start(self):
        from skops.io import loads  # unlike a pickle, the file holds no code

        # The nodes of a tree are read without checks of bounds; they come from our own release, whose bytes are signed.
        self.model = loads(pkgutil.get_data(__package__, "model.skops"), trusted=["sklearn.tree._tree.Tree"])
        self.hosts = {}

    def inspect(self, batch, sink):
        flows = batch.flows
        if not len(flows):
            return
        scores = self.model.score_samples(features(flows))
        for i in (scores < self.config.threshold).nonzero()[0]:
            self.note(flows, int(i), float(scores[i]))

    def note(self, flows, i, score):
        src = str(flows.src(i))
        if src not in self.hosts and len(self.hosts) >= MAX_HOSTS:
            return
        start, end = (int(flows[name][i].view("i8")) for name in ("start", "end"))
        h = self.hosts.setdefault(src, {"flows": 0, "lowest": 0.0, "start": start, "end": end, "dst": {}, "refs": [], "packets": []})
        h["flows"] += 1
        h["lowest"] = min(h["lowest"], score)
        h["start"], h["end"] = min(h["start"], start), max(h["end"], end)
        if len(h["dst"]) < 1000:
            h["dst"][str(flows.dst(i))] = 1
        if len(h["refs"]) < EVIDENCE:
            h["refs"].append(vars(flows.ref(i)))
            h["packets"] += flows.packets(i)

    def flush(self, sink):
        for src, h in sorted(self.hosts.items()):
            if h["flows"] >= self.config.min_flows:
                sink.finding(
                    "unusual", severity="medium", risk=min(90, 30 + h["flows"] // 4), confidence=min(1.0, -h["lowest"]),
                    techniques=["T1046"], src=src, dst=next(iter(h["dst"])) if len(h["dst"]) == 1 else "",
                    start=h["start"], end=h["end"], packets=sorted(set(h["packets"])),
                    flows=[picket.FlowRef(**r) for r in h["refs"]],
                    features={"flows": h["flows"], "lowest_score": h["lowest"], "hosts": len(h["dst"])},
                    summary=f"{src} began {h['flows']} flows unlike the usual ones, to {len(h['dst'])} host(s).")
        self.hosts = {}

    def snapshot(self):
        return json.dumps({"version": 1, "columns": COLUMNS, "hosts": self.hosts}).encode()

    def restore(self, state):
        was = json.loads(state)
        if was["version"] != 1:
            raise picket.Unsupported(f"state of version {was['version']}")
        self.hosts = was["hosts"]
