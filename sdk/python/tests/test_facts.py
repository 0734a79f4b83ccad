"""Facts, and plugins that are shown them."""

import ipaddress

import numpy as np
import picket
import pytest
from picket import records
from picket.testing import Instance


def asked(*names):
    return records.encode("dns", [
        {"query": n, "protocol": "mdns", "client": "192.168.1.7", "packet": i + 1, "time": i, "answers": [n, "", "ü"], "answer_ttls": [60]}
        for i, n in enumerate(names)])


def test_columns_and_lists():
    rows = records.decode(asked("a.example", "b.example"))
    assert rows["packet"].tolist() == [1, 2] and rows["packet"].dtype == np.uint64
    assert rows.text("query", 1) == "b.example" and rows.texts("answers", 0) == ["a.example", "", "ü"]
    assert rows.u64s("answer_ttls", 0).tolist() == [60] and rows.addr("client", 0) == ipaddress.ip_address("192.168.1.7")
    assert rows.addr("server", 0) is None and rows.texts("answer_names", 0) == []


def test_a_fact_names_its_flow():
    rows = records.decode(records.encode("dns", [
        {"flow": 7, "proto": 17, "client": "10.0.0.1", "client_port": 40000, "server": "2001:db8::53", "server_port": 53}, {"packet": 3}]))
    assert rows.refs(0) == [picket.FlowRef(7, "", "udp", "10.0.0.1:40000", "[2001:db8::53]:53")]
    assert rows.refs(1) == []


def test_every_kind_has_a_schema():
    assert sorted(records.FACTS) == sorted(picket.types.FACT_KINDS)


def test_a_text_of_a_list_that_leaves_the_heap():
    frame = bytearray(asked("a"))
    frame[32 + 88 + 4] = 200  # the count of answers
    with pytest.raises(records.FrameError):
        records.decode(bytes(frame), verify=False)
    frame = bytearray(asked("a"))
    heap = int.from_bytes(frame[16:20], "little")
    at = int.from_bytes(frame[32 + 88 : 32 + 92], "little")
    frame[heap + at : heap + at + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(records.FrameError):
        records.decode(bytes(frame), verify=False)


@picket.discovery(id="test/watchful", summary="Watches.", facts=["dns"], flows=True)
class Watchful:
    def start(self):
        self.pending = 0

    def observe(self, batch, sink):
        names = batch.facts("dns")
        assert len(names) + len(batch.flows) == len(batch) and len(batch.packets) == 0
        for i in range(len(names)):
            self.pending += 1
            name = names.text("query", i)
            sink.sighting("224.0.0.251" if name == "many" else names.addr("client", i), hostname=name, source=names.text("protocol", i),
                          packet=int(names["packet"][i]), time=names["time"][i])

    def end_capture(self, sink):
        sink.sighting(mac="00:11:22:33:44:55", facts={"messages": str(self.pending)})
        self.pending = 0


def test_an_observer():
    with Instance("test/watchful") as i:
        assert i.inspect(records.encode("flow", [{}, {}])) == []
        (seen,) = i.inspect(asked("printer.local"))
        assert (str(seen.ip), seen.hostname, seen.source, seen.packet) == ("192.168.1.7", "printer.local", "mdns", 1)
        with pytest.raises(Exception, match="the address of no device"):
            i.inspect(asked("many"))
        (end,) = i.flush()
        assert end.facts == {"messages": "2"}


def test_what_it_says_of_itself():
    (p,) = [p for p in picket.registered() if p.id == "test/watchful"]
    about = p.describe()
    assert about["subscription"] == {"flows": True, "facts": ["dns"]} and about["observes"] and about["passive"]


@pytest.mark.parametrize("arguments, words", [
    (dict(facts=["weather"]), "there are no facts 'weather'"),
    (dict(facts=["dns"], features=True), "features are those of flows"),
    (dict(), "subscribes to flows, to facts or to packets"),
])
def test_subscriptions_that_make_no_sense(arguments, words):
    body = {"inspect": lambda *_: None, "flush": lambda *_: None}
    with pytest.raises(TypeError, match=words):
        picket.detector(id="test/wrong", summary="", rules=[], **arguments)(type("Wrong", (), body))


def test_an_observer_needs_records_and_an_end():
    with pytest.raises(TypeError, match="and no other, subscribes"):
        picket.discovery(id="test/wrong", summary="")(type("Wrong", (), {"observe": lambda *_: None, "end_capture": lambda *_: None}))
    with pytest.raises(TypeError, match="end_capture"):
        picket.discovery(id="test/wrong", summary="", facts=["dns"])(type("Wrong", (), {"observe": lambda *_: None, "discover": lambda *_: None}))
