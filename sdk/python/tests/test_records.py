import base64
import ipaddress
import json
import pathlib

import numpy as np
import pytest
from picket import records
from picket.types import Sample

VECTORS = sorted((pathlib.Path(__file__).parents[2] / "records" / "testdata" / "vectors").glob("*.json"))


def row_of(schema, vector):
    """A row of a vector, which has addresses as text and "" for none, and bytes in base64."""
    types = {f[0]: f[1] for f in records.SCHEMAS[schema]["fields"]}

    def value(k, v):
        if types[k] == "addr":
            return ipaddress.ip_address(v) if v else None
        return base64.b64decode(v) if types[k] == "bytes" else v

    return {k: value(k, v) for k, v in vector.items()}


def comparable(rows):
    """NaN, which is not equal to itself, and the infinities as the vectors write them."""
    words = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
    return [{k: words.get(repr(v), v) if isinstance(v, float) else v for k, v in r.items()} for r in rows]


def test_there_are_vectors():
    assert len(VECTORS) > 10


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_vector(path):
    want, frame = json.loads(path.read_text()), path.with_suffix(".bin").read_bytes()
    if "refused" in want:
        with pytest.raises(records.FrameError):
            records.decode(frame)
        return
    rows = list(records.rows_of(records.decode(frame)))
    assert comparable(rows) == [row_of(want["schema"], r) for r in want["rows"]]
    if want["canonical"]:
        assert records.encode(want["schema"], rows) == frame


@pytest.mark.parametrize("name, at, fewer", [("text", 32 + 72, 1), ("texts", 32 + 88, 1400), ("map", 32 + 104, 1400)])
def test_shared_texts(name, at, fewer):
    """Rows and lists may share a text as long as all of them written out stay within a frame."""
    (path,) = [p for p in VECTORS if p.stem == "refused-shared-" + name]
    frame = bytearray(path.with_suffix(".bin").read_bytes())
    with pytest.raises(records.FrameError, match="texts together"):
        records.decode(frame)
    frame[at + 4 : at + 8] = fewer.to_bytes(4, "little")
    assert len(records.decode(frame, verify=False)) > 0


def test_no_copy_and_read_only():
    frame = records.encode("flow", [{"id": n, "fwd_bytes": n * 10} for n in range(5)])
    rows = records.decode(frame)
    assert np.shares_memory(rows, np.frombuffer(frame, "u1"))
    with pytest.raises(ValueError):
        rows["id"][0] = 1
    assert isinstance(rows[rows["id"] > 2], records.Flows) and type(rows["id"]) is np.ndarray


def test_times_and_addresses():
    rows = records.decode(records.encode("flow", [
        {"start": np.datetime64("2026-01-02T03:04:05.000000006"), "src": "2001:db8::1", "src_port": 1, "dst": "10.0.0.1"}]))
    assert str(rows["start"][0]) == "2026-01-02T03:04:05.000000006" and np.isnat(rows["end"][0])
    assert rows.src(0) == ipaddress.ip_address("2001:db8::1") and rows.ref(0).src == "[2001:db8::1]:1"
    assert rows.duration()[0] == 0
    mapped = records.decode(records.encode("flow", [{"src": ipaddress.ip_address("::ffff:192.0.2.1"), "src_port": 2}]))
    assert mapped.ref(0).src == "[::ffff:192.0.2.1]:2"


def test_samples_and_packets_round_trip():
    s = [Sample("a.b", 1.5, "s", "counter", {"z": "ü", "a": ""}, 7), Sample("c", -1, time=8)]
    rows = list(records.rows_of(records.decode(records.encode_samples(s, checked=True))))
    assert rows[0] == {"time": 7, "value": 1.5, "metric": "a.b", "unit": "s", "labels": {"a": "", "z": "ü"}, "type": "counter"}
    assert rows[1]["labels"] == {} and rows[1]["type"] == "gauge"
    assert records.encode("sample", rows) == records.encode_samples(s, checked=True)
    packets = records.decode(records.encode("packet", [{"number": 1, "time": 5, "data": b"abc", "length": 60, "link": 1}]))
    assert bytes(packets.payload(0)) == b"abc" and packets["length"][0] == 60


@pytest.mark.parametrize("size", [0, 1, 31, 4095, 4096, 4097, 100_000])
def test_crc(size):
    data = np.random.default_rng(size).bytes(size)
    want = records._crc_short(0xFFFFFFFF, data) ^ 0xFFFFFFFF
    assert records.crc32c(data) == want == records.crc32c(data[size // 3 :], records.crc32c(data[: size // 3]))
    assert records.crc32c(b"123456789") == 0xE3069283


def test_hostile_frames():
    """No change of a byte may do more than raise FrameError."""
    good = records.encode("flow", [{"id": 1, "community_id": "1:x", "packets": [1, 2]}])
    rng = np.random.default_rng(1)
    for _ in range(3000):
        frame = bytearray(good)
        for at in rng.integers(0, len(frame), rng.integers(1, 4)):
            frame[at] = rng.integers(0, 256)
        if rng.integers(0, 4) == 0:
            frame = frame[: rng.integers(0, len(frame))]
        try:
            for row in records.rows_of(records.decode(frame, verify=False)):
                assert isinstance(row, dict)
        except records.FrameError:
            pass
