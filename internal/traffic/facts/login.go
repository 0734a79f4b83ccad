package facts

import (
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/mqtt"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/sdk"
)

var results = [...]string{login.Unknown: "", login.Failed: "failure", login.Granted: "success"}

func (m *Maker) attempt(f *app.Fact, a *login.Attempt) {
	if m.logins.wanted {
		m.tellLogin(seen(f), f.Protocol, a)
	}
}

func (m *Maker) tellLogin(at sdk.Seen, protocol string, a *login.Attempt) {
	m.logins.row = sdk.Login{
		Seen: at, Protocol: protocol, User: cut(a.User), Method: a.Method, Result: named(results[:], int(a.Result)), Clear: a.Clear, Code: cut(a.Code),
	}
	m.logins.add(&m.logins.row)
}

// session is who tries to log in to a server that did not answer yet.
type session struct{ attempt login.Attempt }

// sessionBytes is about what one costs.
const sessionBytes = 256

func (m *Maker) tries(f *app.Fact, a login.Attempt) {
	s, fresh := m.sessions.open(f.Flow.ID)
	s.attempt = a
	if fresh {
		m.sessions.grew(f.Flow.ID, sessionBytes)
	}
}

// answers tells the attempt that a server's answer belongs to.
func (m *Maker) answers(f *app.Fact, result login.Result, code string) {
	s := m.sessions.of(f.Flow.ID)
	if s == nil {
		return
	}
	s.attempt.Result, s.attempt.Code = result, code
	m.tellLogin(seen(f), f.Protocol, &s.attempt)
	m.sessions.end(f.Flow.ID)
}

func (m *Maker) mqttLogin(f *app.Fact) {
	if !m.logins.wanted {
		return
	}
	switch b := f.Body.(type) {
	case *mqtt.Connect:
		if b.User != "" || b.Password {
			m.tries(f, login.Attempt{User: b.User, Method: "CONNECT", Clear: b.Password})
		}
	case *mqtt.Connected:
		result := login.Granted
		if b.Code != 0 {
			result = login.Failed
		}
		m.answers(f, result, strconv.Itoa(int(b.Code)))
	}
}

// statusMore is the status of a login that takes another message.
const statusMore = 0xc0000016

func (m *Maker) smbLogin(f *app.Fact, b *smb.Command, name string) {
	if !m.logins.wanted || name != nameSetup {
		return
	}
	switch {
	case !b.Response && b.User != "":
		user := b.User
		if b.Domain != "" {
			user = b.Domain + `\` + b.User
		}
		method := "NTLM"
		if b.Anonymous {
			method = "ANONYMOUS"
		}
		m.tries(f, login.Attempt{User: user, Method: method})
	case b.Response && b.Status == 0:
		m.answers(f, login.Granted, "")
	case b.Response && b.Status != statusMore:
		m.answers(f, login.Failed, "0x"+strconv.FormatUint(uint64(b.Status), 16))
	}
}
