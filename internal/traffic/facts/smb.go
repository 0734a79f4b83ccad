package facts

import (
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/smb"
	"github.com/picketwatch/picket/sdk"
)

// nameSetup is the command that logs on, in all versions.
const nameSetup = "session-setup"

// The commands of SMB 2 and 3 by number ([MS-SMB2] 2.2.1.2).
var smb2Names = [...]string{
	"negotiate", nameSetup, "logoff", "tree-connect", "tree-disconnect", "create", "close", "flush", "read", "write", "lock", "ioctl",
	"cancel", "echo", "query-directory", "change-notify", "query-info", "set-info", "oplock-break",
}

// The commands of SMB 1 that are met ([MS-CIFS] 2.2.2.1).
var smb1Names = map[uint16]string{
	0x00: "create-directory", 0x01: "delete-directory", 0x02: "open", 0x03: "create", 0x04: "close", 0x05: "flush", 0x06: "delete",
	0x07: "rename", 0x08: "query-information", 0x09: "set-information", 0x0a: "read", 0x0b: "write", 0x10: "check-directory",
	0x1d: "write-raw", 0x1a: "read-raw", 0x24: "locking", 0x25: "transaction", 0x26: "transaction-secondary", 0x2b: "echo", 0x2d: "open",
	0x2e: "read", 0x2f: "write", 0x32: "transaction2", 0x33: "transaction2-secondary", 0x34: "find-close2", 0x70: "tree-connect",
	0x71: "tree-disconnect", 0x72: "negotiate", 0x73: nameSetup, 0x74: "logoff", 0x75: "tree-connect", 0x80: "query-information-disk",
	0x81: "search", 0xa0: "nt-transaction", 0xa1: "nt-transaction-secondary", 0xa2: "create", 0xa4: "cancel", 0xa5: "rename",
	0xc0: "open-print-file",
}

func smbName(b *smb.Command) string {
	switch {
	case b.Encrypted || b.Compressed:
		return ""
	case b.Version == 1:
		if name, ok := smb1Names[b.Code]; ok {
			return name
		}
		return strconv.Itoa(int(b.Code))
	}
	return named(smb2Names[:], int(b.Code))
}

func (m *Maker) takeSMB(f *app.Fact, b *smb.Command) {
	name := smbName(b)
	m.smbLogin(f, b, name)
	if !m.wants(f.Flow, &m.smb.share) {
		return
	}
	r := &m.smb.row
	*r = sdk.SMB{
		Seen: seen(f), Version: b.Version, Command: b.Code, Name: name, Response: b.Response, Status: b.Status,
		MessageID: b.MessageID, Session: b.SessionID, Tree: uint64(b.TreeID), Dialect: b.Dialect,
		Dialects: appendWide(r.Dialects[:0], b.Dialects), Share: cut(b.Share), File: cut(b.File), Access: b.Access,
		User: cut(b.User), Domain: cut(b.Domain), Host: cut(b.Host), Encrypted: b.Encrypted, Compressed: b.Compressed, NTLM: b.NTLM,
	}
	m.smb.add(r)
}
