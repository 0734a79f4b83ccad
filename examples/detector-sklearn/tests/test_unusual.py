"""The plugin's own tests. Run them with pytest in the folder above."""

import ipaddress

import pytest
import unusual  # noqa: F401 - declares the plugin
from picket import InvalidConfig, records
from picket.testing import Instance


def flow(n, src, **fields):
    """A question for a name, unless the fields say otherwise."""
    start = 1_700_000_000_000_000_000 + n * 1_000_000
    question = {"fwd_packets": 1, "rev_packets": 1, "fwd_bytes": 83, "rev_bytes": 87, "fwd_payload": 55, "rev_payload": 59,
                "fwd_len_mean": 83, "rev_len_mean": 87}
    return {"id": n + 1, "start": start, "end": start + 768_000, "src": ipaddress.ip_address(src), "dst": ipaddress.ip_address("10.0.0.10"),
            "src_port": 40000 + n, "dst_port": 53, "proto": 17, "packets": [n + 1], **question, **fields}


def probe(n):
    """A probe of a closed port: a SYN and a reset."""
    return flow(n, "10.0.0.66", end=1_700_000_000_000_000_000 + n * 1_000_000 + 6000, fwd_packets=1, rev_packets=1, fwd_bytes=44,
                rev_bytes=40, fwd_payload=0, rev_payload=0, fwd_len_mean=44, rev_len_mean=40, syn_count=1, rst_count=1, proto=6, dst_port=n)


def frame(rows):
    return records.encode("flow", rows)


QUESTIONS = [flow(n, "10.0.0.21") for n in range(100)]
SCAN = [probe(n) for n in range(200)]


def test_finds_the_scan_and_nothing_else():
    with Instance("acme/unusual") as i:
        assert i.inspect(frame(QUESTIONS) + frame(SCAN)) == []
        found = i.flush()
        assert [(f.src, f.dst, f.features["flows"]) for f in found] == [("10.0.0.66", "10.0.0.10", 200)]
        assert len(found[0].flows) == 20 and found[0].packets[:2] == [1, 2]
        assert i.flush() == []


def test_the_cut_of_the_batches_does_not_matter():
    found = []
    for size in (1, 7, 1000):
        with Instance("acme/unusual") as i:
            for k in range(0, len(SCAN), size):
                i.inspect(frame(SCAN[k : k + size]))
            found.append(i.flush())
    assert found[0] == found[1] == found[2]


def test_goes_on_from_a_snapshot():
    with Instance("acme/unusual") as one, Instance("acme/unusual") as two:
        one.inspect(frame(SCAN[:150]))
        two.restore(one.snapshot())
        two.inspect(frame(SCAN[150:]))
        one.inspect(frame(SCAN[150:]))
        assert one.flush() == two.flush()


def test_refuses_what_it_does_not_know():
    with pytest.raises(InvalidConfig):
        Instance("acme/unusual", {"treshold": -0.5})
    with pytest.raises(InvalidConfig):
        Instance("acme/unusual", {"threshold": 0.5})
