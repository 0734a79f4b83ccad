package facts

import (
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// secrets are the fields whose values let others in. They are listed without them.
var secrets = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "x-api-key": true, "api-key": true,
	"x-auth-token": true, "x-access-token": true, "x-csrf-token": true, "x-xsrf-token": true, "x-amz-security-token": true,
	"x-vault-token": true, "x-goog-api-key": true, "sec-websocket-key": true, "authentication-info": true,
	"x-api-token": true, "x-auth-key": true, "x-auth": true, "x-session-token": true, "private-token": true, "x-gitlab-token": true,
	"x-github-token": true, "apikey": true, "x-apikey": true, "x-functions-key": true, "x-consul-token": true, "x-nomad-token": true,
}

// secret reports whether a field's value is left out.
func secret(name string) bool {
	const longest = 20
	if len(name) > longest {
		return false
	}
	var low [longest]byte
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		low[i] = c
	}
	return secrets[string(low[:len(name)])]
}

// is compares the name of a field with one in lower case.
func is(name, lower string) bool { return len(name) == len(lower) && strings.EqualFold(name, lower) }

// appendFields appends "Name: value" of each field, within the limits, all cut out of one string.
func appendFields(dst []string, fields []app.Field) []string {
	size, count := 0, 0
	for _, h := range fields {
		n := len(cut(h.Name)) + len(cut(h.Value)) + len(": ")
		if size+n > maxHeads || count == maxList {
			break
		}
		size += n
		count++
	}
	var all strings.Builder
	all.Grow(size)
	for _, h := range fields[:count] {
		at := all.Len()
		all.WriteString(cut(h.Name))
		all.WriteString(": ")
		if !secret(h.Name) {
			all.WriteString(cut(h.Value))
		}
		dst = append(dst, all.String()[at:])
	}
	return dst
}
