import array
import hashlib
import json
import os
import socket
import tempfile
import threading
import unittest

from picket import _broker, _host, errors
from picket._instance import InstanceConfig

_WORDS = b"the words of the model"
_DIGEST = hashlib.sha256(_WORDS).hexdigest()


def _host_with(answer):
    """A host whose broker answers each open with what answer(request) gives: JSON, and perhaps a file to send along."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve():
        while data := ours.recv(1 << 16):
            request = json.loads(data)
            said, file = answer(request)
            fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))] if file else []
            ours.sendmsg([json.dumps({"id": request["id"], **said}).encode()], fds)

    threading.Thread(target=serve, daemon=True).start()
    return _host.Host(InstanceConfig("i", "acme/x", b"{}", {}), _broker.Broker(theirs))


class TestModel(unittest.TestCase):
    def setUp(self):
        self.file = tempfile.TemporaryFile()
        self.addCleanup(self.file.close)
        self.file.write(_WORDS)
        self.file.flush()

    def _reopened(self):
        return open(f"/proc/self/fd/{self.file.fileno()}", "rb")

    def test_is_read(self):
        asked = []

        def answer(request):
            asked.append((request["op"], request["name"]))
            return {"model": {"version": "1.2.0", "digest": _DIGEST}}, self._reopened()

        host = _host_with(answer)
        with host.model("acme/words") as m:
            self.assertEqual((m.id, m.version, m.digest, m.size), ("acme/words", "1.2.0", _DIGEST, len(_WORDS)))
            self.assertEqual(m.bytes(), _WORDS)
            self.assertEqual(m.bytes(), _WORDS)  # from the beginning each time
            view = m.map()
            f = m.open()
            f.seek(4)
            self.assertEqual(f.read(5), b"words")
        self.assertEqual(bytes(view), _WORDS)
        self.assertTrue(view.readonly)
        self.assertEqual(asked, [("open", "acme/words")])

    def test_a_path_is_not_asked_for(self):
        host = _host_with(lambda _: self.fail("it was asked for"))
        for bad in ("/etc/passwd", "words", "acme/words/more", "Acme/words", "../words", "acme/words\n"):
            with self.assertRaises(errors.Internal):
                host.model(bad)

    def test_what_is_not_required_is_refused(self):
        said = {"error": {"class": "permission_denied", "message": "not under requires"}}
        with self.assertRaises(errors.PermissionDenied):
            _host_with(lambda _: (said, None)).model("acme/other")

    def test_an_answer_without_a_release_is_no_model(self):
        before = len(os.listdir("/proc/self/fd"))
        host = _host_with(lambda _: ({}, self._reopened()))
        with self.assertRaises(errors.Internal):
            host.model("acme/words")
        del host
        self.assertLess(len(os.listdir("/proc/self/fd")), before + 5)

    def test_a_test_gives_files(self):
        with tempfile.NamedTemporaryFile() as f:
            f.write(_WORDS)
            f.flush()
            host = _host.Host(InstanceConfig("i", "acme/x", b"{}", {}), None, {"acme/words": f.name})
            with host.model("acme/words") as m:
                self.assertEqual((m.bytes(), m.digest), (_WORDS, _DIGEST))
            with self.assertRaises(errors.Unsupported):
                host.model("acme/other")


if __name__ == "__main__":
    unittest.main()
