"""A plugin that reaches out, each thing that it is asked to."""

import os
from dataclasses import dataclass

import picket


@dataclass
class Config:
    tcp: str = picket.field(required=True, doc="Echoes, over TCP.")
    udp: str = picket.field(required=True, doc="Echoes, over UDP.")
    url: str = picket.field(required=True, doc="A page.")
    file: str = picket.field(required=True, doc="A file.")


@picket.collector(id="test/net", summary="Reaches out.")
class Net:
    config: Config

    def collect(self, req, sink):
        failed = []
        for name in ("stream", "datagram", "page", "read", "model", "keep", "listen", "refused"):
            try:
                sink.sample("test." + name, getattr(self, name)())
            except picket.Error as e:
                failed.append(f"{name}: {type(e).__name__}: {e}")
        if failed:
            raise picket.Internal("; ".join(failed))

    def stream(self):
        with self.host.dial("tcp", self.config.tcp) as s:
            s.sendall(b"hello" * 1000)
            s.shutdown(1)
            return len(s.makefile("rb").read())

    def datagram(self):
        with self.host.dial("udp", self.config.udp) as d:
            d.send(b"hello")
            data, _ = d.recv(timeout=30)
            return len(data)

    def page(self):
        r = self.host.fetch(self.config.url, method="POST", headers={"X-Test": "yes"}, body=b"12345")
        return r.status + len(r.body) + len(r.headers["x-answer"])

    def read(self):
        with self.host.open(self.config.file) as f:
            return len(f.read())

    def model(self):
        with self.host.model("test/words") as m:
            view = m.map()
            if (m.version, bytes(view), m.bytes()) != ("1.2.0", b"the words", b"the words"):
                return 0
            try:
                os.pwrite(m.open().fileno(), b"x", 0)
            except OSError:
                return m.size
            return 0

    def keep(self):
        before = self.host.state.get("none")
        self.host.state.put("empty", b"")
        self.host.state.put("big", bytes(1 << 20))
        return len(self.host.state.get("big")) + len(self.host.state.get("empty")) + (before is None)

    def listen(self):
        with self.host.listen_packet("udp", "127.0.0.1:0") as one, self.host.listen_packet("udp", "127.0.0.1:0") as two:
            host, _, port = two.local.rpartition(":")
            one.send(b"over", (host, int(port)))
            data, (addr, number) = two.recv(timeout=30)
            return len(data) + (f"{addr}:{number}" == one.local)

    def refused(self):
        for call in (lambda: self.host.dial("tcp", "192.0.2.1:80"), lambda: self.host.open("/etc/shadow"),
                     lambda: self.host.dial("unix", "/run/none"), lambda: self.host.listen_icmp("ip4"),
                     lambda: self.host.fetch("http://169.254.169.254/"), lambda: self.host.model("test/other")):
            try:
                call()
            except picket.PermissionDenied:
                continue
            return 0
        return 1
