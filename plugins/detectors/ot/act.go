package ot

import (
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// act is what a message does to a controller, whatever the protocol.
type act uint8

const (
	nothing  act = iota // says nothing about what is done
	asks                // who is there, what is it
	reads               // reads, opens and closes sessions
	writes              // values, parameters, the clock
	commands            // to the process: a breaker, a coil, a set point
	starts
	stops
	restarts
	loads   // a program or files into the controller, or what is in it away
	fetches // a program or files out of it
	silences
	acts
)

// ruleOf is the rule of an act, "" of those that are only judged together.
var ruleOf = [acts]string{
	writes: RuleWrite, commands: RuleCommand, starts: RuleStart, stops: RuleStop, restarts: RuleRestart, loads: RuleDownload, fetches: RuleUpload, silences: RuleSilence,
}

// grave is how much an act is a finding by itself, without a look at who does it.
type grave uint8

const (
	ordinary  grave = iota // belongs to the work of a plant: low
	notable                // medium
	dangerous              // high
)

// deed is an act with its weight. Acts of one deed make one finding, or with byFunction one for each function.
type deed struct {
	act        act
	grave      grave
	byFunction bool
}

var (
	writing     = deed{writes, ordinary, true}
	commanding  = deed{commands, ordinary, true}
	starting    = deed{starts, notable, false}
	stopping    = deed{stops, dangerous, false}
	restarting  = deed{restarts, dangerous, false}
	downloading = deed{loads, dangerous, false}
	uploading   = deed{fetches, notable, false}
	readingFile = deed{fetches, ordinary, false} // records of disturbances, descriptions of a device
	pausing     = deed{silences, ordinary, false}
	silencing   = deed{silences, notable, false}
	reading     = deed{act: reads}
	asking      = deed{act: asks}
)

// deedOf says what a request does. The words that all protocols share decide; where one word has several meanings the
// protocol's own functions do.
func deedOf(f *sdk.OT) deed {
	switch f.Action {
	case "discover":
		return asking
	case "read", "connect":
		return reading
	case "write":
		return writeOf(f)
	case "operate":
		return commanding
	case "program":
		return programOf(f)
	case "start":
		if f.Protocol == "bacnet" {
			return writing // a device may speak again
		}
		return starting
	case "stop":
		return stopOf(f)
	case "restart":
		return restartOf(f)
	}
	if f.Protocol == "modbus" && f.Function == modbusDiagnostics {
		return diagnosticsOf(f)
	}
	return deed{}
}

// Functions of Modbus.
const (
	modbusWriteCoil   = 5
	modbusDiagnostics = 8
	modbusWriteCoils  = 15
)

func writeOf(f *sdk.OT) deed {
	const fileObjects = "group-70"
	switch {
	case f.Protocol == "modbus" && (f.Function == modbusWriteCoil || f.Function == modbusWriteCoils):
		return commanding
	case f.Protocol == "dnp3" && f.Object == fileObjects:
		return downloading
	case f.Protocol == "profinet-dcp" && f.Details["reset"] != "":
		return restarting
	}
	return writing
}

func diagnosticsOf(f *sdk.OT) deed {
	const restart, listenOnly = 1, 4
	if len(f.Value) < 2 || f.Value[0] != 0 {
		return reading
	}
	switch f.Value[1] {
	case restart:
		return restarting
	case listenOnly:
		return silencing
	}
	return reading
}

func programOf(f *sdk.OT) deed {
	switch f.Protocol {
	case "s7comm":
		return s7Program(f)
	case "modbus":
		return unityOf(f)
	case "enip":
		return cipFile(f)
	case "dnp3":
		const open, erase, authenticate, activate = 25, 27, 29, 31
		switch f.Function {
		case erase, activate:
			return downloading
		case open, authenticate:
			return readingFile
		}
		return reading
	case "bacnet":
		const readFile, writeFile = 6, 7
		switch f.Function {
		case readFile:
			return readingFile
		case writeFile:
			return downloading
		}
	case "iec104":
		return iecFile(f)
	}
	return writing // objects are added and removed
}

func s7Program(f *sdk.OT) deed {
	const download, ended, upload, uploaded, invocation = 0x1a, 0x1c, 0x1d, 0x1f, 0x28
	switch {
	case f.Function >= download && f.Function <= ended:
		return downloading
	case f.Function >= upload && f.Function <= uploaded:
		return uploading
	case f.Function == invocation && (f.Object == "_INSE" || f.Object == "_DELE"):
		return downloading
	}
	return writing
}

// unityOf reads the function that Schneider's engineering software sends within function 90, behind the number of its session.
func unityOf(f *sdk.OT) deed {
	if len(f.Value) < 2 {
		return reading
	}
	switch code := f.Value[1]; {
	case code == 0x40:
		return starting
	case code == 0x41:
		return stopping
	case code >= 0x30 && code <= 0x32:
		return uploading
	case code >= 0x33 && code <= 0x36:
		return downloading
	case code == 0x21 || code == 0x23:
		return writing
	}
	return reading
}

func cipFile(f *sdk.OT) deed {
	switch f.Name {
	case "initiate download", "initiate partial write", "download transfer", "clear file":
		return downloading
	case "initiate upload", "initiate partial read", "upload transfer":
		return readingFile
	}
	return writing
}

// iecFile tells a file that goes to a station from one that is called off it, by the type and by who sends.
func iecFile(f *sdk.OT) deed {
	const ready, sectionReady, call, last, segment, query = 120, 121, 122, 123, 125, 127
	switch f.Function {
	case ready, sectionReady, last, segment:
		if !f.FromServer {
			return downloading
		}
	case call, query:
		return readingFile
	}
	return reading
}

func stopOf(f *sdk.OT) deed {
	const pause = 21 // of DNP3: reports that nobody asked for
	switch f.Protocol {
	case "bacnet":
		return silencing
	case "iec104":
		return pausing
	case "dnp3":
		if f.Function == pause {
			return pausing
		}
	}
	return stopping
}

func restartOf(f *sdk.OT) deed {
	switch f.Protocol {
	case "enip":
		if !standsForDevice(f.Object) {
			return writing
		}
	case "bacnet":
		switch f.Details["state"] { // backup and restore begin and end by the same service
		case "2", "3":
			return readingFile
		case "4", "5", "6":
			return downloading
		}
	}
	return restarting
}

// standsForDevice reports whether an object of CIP, as class/instance/attribute, is the device itself, or one that its maker gave
// it: then a reset is not that of a connection or a parameter alone.
func standsForDevice(object string) bool {
	const identity, firstOfMakers, lastOfMakers, moreOfMakers, lastOfMore = 1, 0x64, 0xc7, 0x300, 0x4ff
	text, _, found := strings.Cut(object, "/")
	class, err := strconv.Atoi(text)
	return found && err == nil && (class == identity || class >= firstOfMakers && class <= lastOfMakers || class >= moreOfMakers && class <= lastOfMore)
}
