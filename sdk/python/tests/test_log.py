"""What a plugin's author reads when something goes wrong."""

import json
import logging
import sys

from picket import _log, testing
import picket


@picket.collector(id="acme/broken", summary="Fails.")
class Broken:
    def collect(self, req, sink):
        sink.sampel("acme.broken", 1)


def test_a_traceback_begins_in_the_plugin():
    broken = testing.Instance("acme/broken")
    try:
        broken.collect()
    except AttributeError:
        kind, err, tb = sys.exc_info()
    inside = tb.tb_next  # the frame of this test is none that a server has
    assert inside.tb_frame.f_code.co_filename == testing.__file__
    record = logging.makeLogRecord({"msg": "it failed", "levelname": "ERROR", "exc_info": (kind, err, inside)})
    text = json.loads(_log.line(record))["traceback"]
    assert text.splitlines()[1].endswith("in collect") and __file__ in text.splitlines()[1]
    assert "sink.sampel" in text and text.splitlines()[-1].startswith("AttributeError")
    assert testing.__file__ not in text


def test_a_mistake_inside_of_the_sdk_is_seen_as_one():
    try:
        testing.Instance("acme/absent")
    except picket.InvalidConfig:
        inside = sys.exc_info()[2].tb_next
    assert _log.authors(inside) is inside
    assert _log.authors(None) is None
