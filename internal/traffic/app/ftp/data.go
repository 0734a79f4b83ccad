package ftp

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/reply"
)

// Data is the data connections of FTP. Nothing in them tells what they are: the control connection announces each.
var Data = app.Protocol{
	Name:      "ftp-data",
	NewStream: func() app.StreamParser { return &data{} },
}

// Carving is FTP that announces its data connections, so that Data hands out the files in them.
var Carving = protocol(true)

// FilePart is the fact of a piece of a file.
type FilePart struct {
	Name    string // as the command gives it, on the first piece
	Size    uint64 // as the server announced it so far, 0 when it did not
	First   bool
	Data    []byte
	Missing bool // bytes are missing before Data
	Last    bool
}

// transfer is what the control connection says of a data connection. That of a listing has no name.
type transfer struct {
	name    string
	size    uint64
	resumed bool // it does not begin with the file's first byte
}

// data hands out the bytes of one connection as a file.
type data struct {
	flow  *app.Flow
	about *transfer
	begun bool
	dir   app.Dir
	part  FilePart
}

// Start readies the parser.
func (p *data) Start(f *app.Flow) {
	*p = data{flow: f}
	p.about, _ = f.About().(*transfer)
}

// Data hands out what one direction says, the one that speaks first.
func (p *data) Data(d app.Dir, b []byte, missing int) app.Next {
	if p.about == nil || p.about.name == "" {
		return app.Done
	}
	if p.begun && d != p.dir {
		return app.Continue
	}
	p.part = FilePart{Size: p.about.size, Data: b, Missing: missing > 0}
	if !p.begun {
		p.begun, p.dir = true, d
		p.part.First, p.part.Name = true, p.about.name
		p.part.Missing = p.part.Missing || p.about.resumed || p.flow.Middle
	}
	p.flow.Part(d, &p.part)
	return app.Continue
}

// Close ends the file with its connection.
func (p *data) Close() {
	if p.begun {
		p.part = FilePart{Size: p.about.size, Last: true}
		p.flow.Part(p.dir, &p.part)
	}
	*p = data{}
}

// announce tells of a data connection. Its address is that of an end of this one, whatever is said, as it may be translated.
func (p *parser) announce(at Endpoint) {
	if !p.carve || !at.Addr.IsValid() {
		return
	}
	host := p.flow.Client.Addr()
	if at.Passive {
		host = p.flow.Server.Addr()
	}
	p.next = &transfer{}
	p.flow.Expect(netip.AddrPortFrom(host, at.Addr.Port()), Data.Name, p.next)
}

// transfers notes what a command does with the data connection.
func (p *parser) transfers(name, arg string) {
	switch name {
	case "REST":
		p.resumed = arg != "0"
	case "RETR", "STOR", "STOU", "APPE":
		if p.next != nil {
			*p.next = transfer{name: arg, resumed: p.resumed || name == "APPE"}
			if arg == "" {
				p.next.name = "?"
			}
		}
		p.resumed = false
	}
}

// opening reads how long the file is, as most servers say it: "150 Opening BINARY mode data connection for a (68 bytes)."
func (p *parser) opening(r *reply.Reply) {
	if p.next == nil || r.Code != 150 && r.Code != 125 {
		return
	}
	i := strings.LastIndexByte(r.Text, '(')
	if number, _, found := strings.Cut(r.Text[i+1:], " bytes"); found && i >= 0 && !p.next.resumed {
		if n, err := strconv.ParseUint(number, 10, 62); err == nil {
			p.next.size = n
		}
	}
}
