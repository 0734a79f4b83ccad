package lateral

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// act is what one record tells.
type act struct {
	kind             kind
	guessed          bool // by operations of an interface that is not known
	from, to         netip.Addr
	fromPort, toPort uint16
	name             string // of a program, a share: valid during the call
	at               int64
	packet, flow     uint64
}

func actOf(seen *sdk.Seen, k kind) act {
	return act{kind: k, from: seen.Client, to: seen.Server, fromPort: seen.ClientPort, toPort: seen.ServerPort, at: seen.Time.UnixNano(), packet: seen.Packet, flow: seen.Flow}
}

// Interfaces of remote procedure calls, and which of their operations act.
const (
	svcctl    = "367abb81-9844-35f1-ad32-98f038001003" // [MS-SCMR]
	atsvc     = "1ff70682-0a51-30e8-076d-740be8cee98b" // [MS-TSCH]
	scheduler = "86d35949-83c9-4044-b424-db363231fd0c"
	wbem      = "9556dc99-828c-11cf-a37e-00aa003240c7" // IWbemServices, [MS-WMI]
	dispatch  = "00020400-0000-0000-c000-000000000046" // IDispatch, [MS-OAUT]
	winreg    = "338cd001-2244-31f1-aaaa-900038001003" // [MS-RRP]
	drsuapi   = "e3514235-4b06-11d1-ab04-00c04fc2dcd2" // [MS-DRSR]
	efsrpc    = "c681d488-d850-11d0-8c52-00c04fd90f7e" // [MS-EFSR], in the pipe of the security authority
	efsrpcOwn = "df1941c5-fe89-4e79-bf10-463657acf44d"
	netdfs    = "4fc742e0-4a10-11cf-8273-00aa004ae673" // [MS-DFSNM]
)

// callOf is the kind of an operation, none when it is of no matter.
func callOf(uuid string, operation int) kind {
	switch uuid {
	case svcctl:
		switch operation {
		case 11, 12, 23, 24, 44, 45, 60: // ChangeServiceConfig and CreateService in their forms
			return service
		}
	case atsvc:
		if operation == 0 { // NetrJobAdd
			return task
		}
	case scheduler:
		if operation == 1 { // SchRpcRegisterTask
			return task
		}
	case wbem:
		if operation == 24 || operation == 25 { // ExecMethod
			return process
		}
	case dispatch:
		if operation == 6 { // Invoke
			return object
		}
	case winreg:
		if operation == 20 || operation == 31 { // BaseRegSaveKey
			return secrets
		}
	case drsuapi:
		if operation == 3 { // DRSGetNCChanges
			return dcsync
		}
	case efsrpc, efsrpcOwn:
		switch operation {
		case 0, 4, 5, 6, 7, 12, 13, 15, 16: // those that name a file, perhaps of another host
			return coercion
		}
	case netdfs:
		if operation == 12 || operation == 13 { // NetrDfsAddStdRoot, NetrDfsRemoveStdRoot
			return coercion
		}
	}
	return none
}

// Replication by somebody who is no domain controller, where it was not captured to which interface the client was bound: it asks
// who the controllers are and what its victim's name is, before it asks for the secrets, and for nothing else. Controllers know.
const (
	bindOnce, unbind, getChanges, crackNames, controllerInfo = 1 << 0, 1 << 1, 1 << 3, 1 << 12, 1 << 16

	replicates    = getChanges | crackNames | controllerInfo
	mayReplicate  = replicates | bindOnce | unbind
	maxOperations = 63
)

// What was seen of the binds of a connection.
const (
	proven uint64 = 1 << iota
	unproven
)

// bind notes whether a client that is bound over TCP proves who it is. In pipes of SMB the session does.
func (m *memory) bind(r *sdk.Message) {
	switch {
	case r.Fields["pipe"] != "":
	case r.Fields["auth"] != "":
		m.binds.add(r.Flow, proven)
	default:
		m.binds.add(r.Flow, unproven)
	}
}

// readCall reads a call. What nobody proves to be allowed to do is refused, so it is no act.
func (m *memory) readCall(r *sdk.Message) (act, bool) {
	switch {
	case r.Name == "bind":
		m.bind(r)
		return act{}, false
	case r.Name != "call" || m.binds.flows[r.Flow] == unproven:
		return act{}, false
	}
	operation, err := strconv.Atoi(r.Fields["operation"])
	if err != nil {
		operation = 0 // what is zero is left out
	}
	k, guessed := callOf(r.Text, operation), false
	if r.Text == "" {
		if called := m.unbound.add(r.Flow, 1<<min(max(operation, 0), maxOperations)); called&replicates == replicates && called&^mayReplicate == 0 {
			k, guessed = dcsync, true
		}
	}
	a := actOf(&r.Seen, k)
	a.guessed = guessed
	return a, k != none
}

// readHTTP reads an exchange of WinRM. Hosts that only forward their events are left out.
func readHTTP(h *sdk.HTTP) (act, bool) {
	const path = "/wsman"
	if h.Method != "POST" || h.Status != 200 || len(h.Target) < len(path) || !strings.EqualFold(h.Target[:len(path)], path) {
		return act{}, false
	}
	switch rest := h.Target[len(path):]; {
	case rest == "":
		return actOf(&h.Seen, winrm), true
	case rest[0] == '?':
		if strings.Contains(rest, "PSVersion=") {
			return actOf(&h.Seen, shell), true
		}
		return actOf(&h.Seen, winrm), true
	}
	return act{}, false
}

// programs are the endings of what can be started.
var programs = [...]string{"exe", "dll", "sys", "bat", "cmd", "ps1", "vbs", "js", "hta", "msi", "scr", "com", "pif", "cpl"}

func isProgram(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || len(name)-dot > 4 {
		return false
	}
	for _, ending := range programs {
		if strings.EqualFold(name[dot+1:], ending) {
			return true
		}
	}
	return false
}

// isAdministrative reports whether a share is one that only administrators may use: ADMIN$, or a whole disk.
func isAdministrative(share string) bool {
	name := share[strings.LastIndexByte(share, '\\')+1:]
	return strings.EqualFold(name, "ADMIN$") || len(name) == 2 && name[1] == '$'
}

// What an access must hold to write: data, to its end, everything.
const writes = 0x2 | 0x4 | 0x10000000 | 0x40000000

// Limits of what is remembered of connections.
const (
	maxConnections = 4096
	maxTrees       = 4
	maxName        = 64
)

// connection is one of SMB that asked for a share for administrators.
type connection struct {
	asked   uint64 // message that asked for a share, 1 more than its number
	name    string // of it, or of the program that is being opened
	opening uint64 // message that opens a program, 1 more than its number
	trees   []uint64
}

// shares follow connections of SMB, by flow.
type shares struct {
	byFlow map[uint64]*connection
	order  []uint64 // flows, in a circle
	next   int
}

// read reads a command or its answer.
func (s *shares) read(r *sdk.SMB) (act, bool) {
	switch {
	case r.Name == "tree-connect" && !r.Response:
		if isAdministrative(r.Share) {
			c := s.open(r.Flow)
			c.asked, c.name = r.MessageID+1, strings.Clone(r.Share[:min(len(r.Share), maxName)])
		}
		return act{}, false
	case r.Name != "tree-connect" && r.Name != "create":
		return act{}, false
	}
	c := s.byFlow[r.Flow]
	if c == nil {
		return act{}, false
	}
	return c.read(r)
}

func (c *connection) read(r *sdk.SMB) (act, bool) {
	switch {
	case r.Name == "create" && !r.Response:
		if c.has(r.Tree) && r.Access&writes != 0 && isProgram(r.File) {
			name := r.File
			c.opening, c.name = r.MessageID+1, strings.Clone(name[max(0, len(name)-maxName):])
		}
	case r.Status != 0:
	case r.Name == "create" && c.opening == r.MessageID+1:
		c.opening = 0
		a := actOf(&r.Seen, program)
		a.name = c.name
		return a, true
	case r.Name == "tree-connect" && c.asked == r.MessageID+1:
		c.asked = 0
		if len(c.trees) < maxTrees && !c.has(r.Tree) {
			c.trees = append(c.trees, r.Tree)
		}
		return actOf(&r.Seen, share), true
	}
	return act{}, false
}

func (c *connection) has(tree uint64) bool {
	for _, t := range c.trees {
		if t == tree {
			return true
		}
	}
	return false
}

// open finds or makes the connection of a flow, in the place of the one that began first when there are too many.
func (s *shares) open(flow uint64) *connection {
	c := s.byFlow[flow]
	if c != nil {
		return c
	}
	if s.byFlow == nil {
		s.byFlow = map[uint64]*connection{}
	}
	if len(s.order) < maxConnections {
		s.order = append(s.order, flow)
	} else {
		delete(s.byFlow, s.order[s.next])
		s.order[s.next] = flow
		s.next = (s.next + 1) % maxConnections
	}
	c = &connection{}
	s.byFlow[flow] = c
	return c
}
