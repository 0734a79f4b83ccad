import array
import os
import socket
import struct
import threading

import picket
import pytest
from picket import _plane, _wire, records
from picket._context import Context
from picket._instance import InstanceConfig, Set
from picket.plugins import Plugin

HEAD = struct.Struct("<4sIBBHIQ")
PATIENCE = 30


class Detector:
    def inspect(self, batch, sink):
        if batch.capture == "hold":
            hold.wait(PATIENCE)
        sink.finding("r", summary=f"{batch.capture} {len(batch)}")

    def flush(self, sink):
        pass


hold = threading.Event()
FRAME = records.encode("flow", [{"id": 1}])


class Peer:
    """The host's end, and what became of the plugin's."""

    def __init__(self, hello=struct.pack("<III", 1, 4, 8 << 20), flags=0):
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(PATIENCE)
        plugin = Plugin("test/d", "detector", "", Detector, rules=[picket.Rule("r", "")], flows=True)
        instances = Set([plugin], lambda cfg: None)
        instances.configure(Context(), InstanceConfig("i", "test/d"))
        self.failed = threading.Event()
        self.why = ""
        self.plane = _plane.Plane(theirs.detach(), instances, self.fail)
        self.plane.open(1, "i", None)
        assert self.read() == (1, 0, 0, 0, struct.pack("<III", 1, 4, 8 << 20))
        self.send(_plane.HELLO, 0, 0, hello, flags)
        self.plane.start()

    def fail(self, why):
        self.why = str(why)
        self.failed.set()

    def send(self, type_, channel, seq, body=b"", flags=0, length=None):
        self.sock.sendall(HEAD.pack(b"PKPL", len(body) if length is None else length, type_, flags, 0, channel, seq) + body)

    def batch(self, seq, capture=b"c", frame=FRAME):
        self.send(_plane.BATCH, 1, seq, struct.pack("<H", len(capture)) + capture + frame)

    def read(self):
        head = self.sock.recv(24, socket.MSG_WAITALL)
        magic, length, type_, flags, _, channel, seq = HEAD.unpack(head)
        assert magic == b"PKPL"
        return type_, flags, channel, seq, self.sock.recv(length, socket.MSG_WAITALL) if length else b""

    def result(self):
        type_, _, channel, seq, body = self.read()
        assert type_ == _plane.RESULT
        return channel, seq, _wire.message("InspectResponse").FromString(body)


def test_batches_in_order():
    p = Peer()
    for seq in range(1, 5):
        p.batch(seq, capture=b"%d" % seq)
    for seq in range(1, 5):
        channel, got, r = p.result()
        assert (channel, got, r.findings[0].summary) == (1, seq, f"{seq} 1")


def test_a_batch_that_does_not_decode_is_answered():
    p = Peer()
    p.batch(1, frame=b"junk")
    assert "magic" in p.result()[2].error.message
    p.batch(2)
    assert p.result()[2].findings


def test_a_channel_that_is_not_open_is_answered():
    p = Peer()
    p.send(_plane.BATCH, 9, 1, b"\0\0" + FRAME)
    channel, seq, r = p.result()
    assert (channel, seq, getattr(r.error, "class")) == (9, 1, "internal")


def test_ring():
    fd = os.memfd_create("ring")
    os.truncate(fd, 1 << 16)
    os.pwrite(fd, FRAME, 4096)
    p = Peer(flags=1)
    head = HEAD.pack(b"PKPL", 8, _plane.RING, 0, 0, 0, 0)
    p.sock.sendmsg([head + struct.pack("<Q", 1 << 16)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    os.close(fd)
    p.send(_plane.BATCH_REF, 1, 1, b"\1\0c" + struct.pack("<QI", 4096, len(FRAME)))
    assert p.result()[2].findings[0].summary == "c 1"
    p.send(_plane.BATCH_REF, 1, 2, b"\1\0c" + struct.pack("<QI", (1 << 16) - 10, 11))
    assert p.failed.wait(PATIENCE) and "outside the ring" in p.why


@pytest.mark.parametrize("name,hostile,words", [
    ("magic", lambda p: p.sock.sendall(b"x" * 24), "a header"),
    ("type", lambda p: p.send(77, 1, 1), "type 77"),
    ("direction", lambda p: p.send(_plane.RESULT, 1, 1), "type 4"),
    ("second hello", lambda p: p.send(_plane.HELLO, 0, 0, bytes(12)), "type 1"),
    ("flags", lambda p: p.send(_plane.BATCH, 1, 1, b"\0\0", flags=1), "a header"),
    ("length", lambda p: p.send(_plane.BATCH, 1, 1, length=_plane.MAX_BODY + 1), "a body of"),
    ("gap", lambda p: p.batch(2), "where 1 comes next"),
    ("duplicate", lambda p: (p.batch(1), p.result(), p.batch(1)), "where 2 comes next"),
    ("short", lambda p: p.send(_plane.BATCH, 1, 1, b"\1"), "1 bytes"),
    ("name", lambda p: p.send(_plane.BATCH, 1, 1, b"\xff\xff"), "a name of"),
    ("no ring", lambda p: p.send(_plane.BATCH_REF, 1, 1, b"\0\0" + bytes(12)), "outside the ring"),
    ("reference", lambda p: p.send(_plane.BATCH_REF, 1, 1, b"\0\0" + bytes(13)), "a reference of"),
    ("window", lambda p: [p.batch(n, capture=b"hold") for n in range(1, 7)], "more than the window"),
    ("ack", lambda p: p.send(_plane.ACK, 1, 5), "which were not sent"),
    ("ack of nobody", lambda p: p.send(_plane.ACK, 7, 1), "never gave"),
    ("credit", lambda p: p.send(_plane.CREDIT, 1, 1, b"xx"), "CREDIT of 2"),
])
def test_hostile_host(name, hostile, words):
    hold.clear()
    p = Peer()
    hostile(p)
    assert p.failed.wait(PATIENCE) and words in p.why
    hold.set()


def test_another_major():
    p = Peer(hello=struct.pack("<III", 2, 4, 8))
    assert p.failed.wait(PATIENCE) and "newer SDK" in p.why


def test_samples_keep_to_their_credit():
    p = Peer()
    ctx = Context()
    call = p.plane.call(ctx, "i", 1, 1, 4096)
    done = threading.Event()

    def work():
        for n in range(200):
            call.put(picket.Sample("m", n, time=n))
        call.finish()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    values, seq = [], 0
    while len(values) < 200:
        type_, _, channel, got, body = p.read()
        seq += 1
        assert (type_, channel, got) == (_plane.SAMPLES, 1, seq) and len(body) <= 4096
        assert struct.unpack_from("<II", body) == (1, 0)
        values += [r["value"] for r in records.rows_of(records.decode(body[8:], verify=False))]
        p.sock.setblocking(False)
        with pytest.raises(BlockingIOError):  # no credit, so nothing more may come
            p.sock.recv(1)
        p.sock.settimeout(PATIENCE)
        assert not done.is_set()
        p.send(_plane.ACK, 1, seq)
        p.send(_plane.CREDIT, 1, 1, struct.pack("<II", 1, len(body)))
    assert done.wait(PATIENCE) and values == list(range(200))


def test_refused_samples_raise():
    p = Peer()
    call = p.plane.call(Context(), "i", 1, 10, 1 << 20)
    call.put(picket.Sample("m", 1, time=1))
    error = _wire.message("Error")(**{"class": "temporary"}, message="the disk is full").SerializeToString()
    threading.Thread(target=lambda: (p.read(), p.send(_plane.ACK, 1, 1, error)), daemon=True).start()
    with pytest.raises(picket.Temporary, match="the disk is full"):
        call.finish()


def test_a_cancelled_call_stops_waiting_for_credit():
    p = Peer()
    ctx = Context()
    call = p.plane.call(ctx, "i", 1, 0, 0)
    threading.Timer(0.05, ctx.cancel).start()
    with pytest.raises(picket.Cancelled):
        for n in range(3000):
            call.put(picket.Sample("m", n, time=n))
