"""The Picket SDK for Python: write a plugin as a class with a decorator above it.

    import picket

    @picket.collector(id="acme/hello", summary="Says hello.")
    class Hello:
        def collect(self, req, sink):
            sink.sample("acme.hello", 1, unit="1")

    picket.main()

The life of an instance: it is made, its configuration is decoded into self.config, validate() checks what declarations
cannot say, self.host is set, start() is called, then work, then stop(), once, also when start() failed. An instance gets
one call at a time, health() and snapshot() included; only watch() runs beside the others. All methods but those of the
kind are optional. picket.context() tells how long the host still waits for a call.
"""

import os as _os

# One thread for each library that would start one for each core: an instance has a limit of its own. Set the variables
# before you import picket to have more.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    _os.environ.setdefault(_name, "1")
# A confined plugin starts no processes. joblib, which scikit-learn uses, would find out by a warning at each start.
_os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")

from . import records
from ._host import Host, Model, Response, State
from ._instance import Batch, FindingSink, SampleSink, SightingSink
from ._serve import main
from .config import field
from ._context import Context, context
from .errors import (Cancelled, DeadlineExceeded, Downstream, Error, Internal, InvalidConfig, PermissionDenied, Temporary,
                     Unsupported)
from .plugins import Plugin, collector, detector, discovery, notifier, registered
from .records import Flows, PacketRows
from .types import (COUNTER, GAUGE, CollectRequest, DeliveryStatus, Finding, FlowRef, Notice, Packets, Receipt, Rule,
                    Sample, Scope, Sighting, finding_id)

__version__ = "0.1.0"

__all__ = [
    "COUNTER", "GAUGE", "Batch", "Cancelled", "CollectRequest", "Context", "DeadlineExceeded", "DeliveryStatus",
    "Downstream", "Error", "Finding", "FindingSink", "FlowRef", "Flows", "Host", "Internal", "InvalidConfig", "Model", "Notice",
    "PacketRows", "Packets", "PermissionDenied", "Plugin", "Receipt", "Response", "Rule", "Sample", "SampleSink",
    "Scope", "Sighting", "SightingSink", "State", "Temporary", "Unsupported", "collector", "context", "detector",
    "discovery", "field", "finding_id", "main", "notifier", "records", "registered",
]
