import threading
import time

import picket
import pytest
from picket import _check, plugins
from picket.testing import Instance


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(plugins, "_registered", {})


@pytest.mark.parametrize("declare,words", [
    (lambda: picket.collector(id="Hello", summary="")(type("A", (), {"collect": print})), "namespace/name"),
    (lambda: picket.collector(id="a/b", summary="")(type("A", (), {})), "needs a method collect"),
    (lambda: picket.detector(id="a/b", summary="", rules=[])(type("A", (), {})), "subscribes to flows, to facts or to packets"),
    (lambda: picket.detector(id="a/b", summary="", rules=[picket.Rule("r", "", "urgent")], flows=True)(
        type("A", (), {"inspect": print, "flush": print})), "severity or techniques"),
    (lambda: picket.collector(id="a/b", summary="")(type("A", (), {"collect": print, "snapshot": print})), "go together"),
])
def test_declarations_that_cannot_work(declare, words):
    with pytest.raises(TypeError, match=words):
        declare()


def test_life():
    life = []

    @picket.collector(id="a/b", summary="")
    class A:
        def validate(self):
            life.append("validate")

        def start(self):
            life.append("start")
            self.host.log.info("hello")

        def collect(self, req, sink):
            life.append("collect")
            self.kept = sink
            sink.sample("m", 1)
            sink.sample("bad name", 1)

        def stop(self):
            life.append("stop")

    with Instance("a/b") as i:
        with pytest.raises(picket.Internal, match="1 samples were refused"):
            i.collect()
        with pytest.raises(picket.Internal, match="has ended"):
            i._set.get("test").inst.kept.sample("m", 1)
        i.stop()
    assert life == ["validate", "start", "collect", "stop"]


def test_a_failed_start_is_stopped_once():
    life = []

    @picket.collector(id="a/b", summary="")
    class A:
        def start(self):
            raise picket.Downstream("no")

        def collect(self, req, sink):
            pass

        def stop(self):
            life.append("stop")

    for _ in range(2):
        with pytest.raises(picket.Downstream):
            Instance("a/b")
    assert life == ["stop", "stop"]


def test_one_call_at_a_time():
    at = []

    @picket.collector(id="a/b", summary="")
    class A:
        def collect(self, req, sink):
            at.append(1)
            assert sum(at) == 1
            time.sleep(0.001)
            at.append(-1)

    i = Instance("a/b")
    failed = []

    def work():
        try:
            i.collect()
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=work) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed and len(at) == 40


def test_finding_id_is_that_of_the_host():
    # Computed by sdk.FindingID; internal/pysdk compares the two over the wire as well.
    f = picket.Finding("big", detector="test/detector", src="10.0.0.1", dst="a", start=5, techniques=["T1041"])
    assert len(picket.finding_id(f)) == 24 and picket.finding_id(f) != picket.finding_id(picket.Finding("big"))


@pytest.mark.parametrize("field,value", [("severity", "urgent"), ("risk", 101), ("confidence", float("nan")), ("techniques", ["T1"]),
                                         ("features", {"x": float("inf")}), ("features", {"": 1}), ("rule", "other"), ("packets", [-1])])
def test_findings_that_make_no_sense(field, value):
    f = picket.Finding(**{"rule": "r", field: value})
    with pytest.raises(_check.Refused):
        _check.finding({"r"}, "a/b")(f)
