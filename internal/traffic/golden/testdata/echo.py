"""Says back the features of each flow, as package echo does in Go."""

import picket
from picket.records import SCHEMAS

COLUMNS = [name for name, type_, *_ in SCHEMAS["flow"]["fields"] if type_ == "f64"]


@picket.detector(id="test/echo", summary="Says back the features of each flow.", flows=True, features=True,
                 rules=[picket.Rule("flow", "There is a flow.", severity="info")])
class Echo:
    def inspect(self, batch, sink):
        flows = batch.flows
        columns = {name: flows[name].tolist() for name in COLUMNS}
        for i in range(len(flows)):
            sink.finding("flow", severity="info", src=str(flows["id"][i]), dst=batch.capture, start=flows["start"][i], end=flows["end"][i],
                         features={name: values[i] for name, values in columns.items()})

    def flush(self, sink):
        pass


picket.main()
