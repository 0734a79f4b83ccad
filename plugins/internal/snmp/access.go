// Package snmp asks agents of SNMP: what goes in is an address and what opens it, what comes out are the values of objects and the
// rows of tables. The connection is the one that the host made, and what an agent sends is bounded.
package snmp

import (
	"strings"

	"github.com/gosnmp/gosnmp"
	"github.com/picketwatch/picket/sdk"
)

// Access is what opens an agent. It is part of a plugin's configuration.
type Access struct {
	Version      string `json:"version" default:"2c" enum:"1,2c,3" doc:"Version of SNMP that the devices speak."`
	Community    string `json:"community" secret:"true" doc:"Community of versions 1 and 2c. It is sent in the clear."`
	User         string `json:"user" max:"32" doc:"User of version 3."`
	AuthProtocol string `json:"auth_protocol" default:"sha256" enum:"none,md5,sha,sha224,sha256,sha384,sha512" doc:"How the user of version 3 is proved; none sends everything unprotected."`
	AuthPassword string `json:"auth_password" secret:"true" doc:"Password that proves the user of version 3, of at least 8 characters."`
	PrivProtocol string `json:"priv_protocol" default:"aes" enum:"none,des,aes,aes192,aes256" doc:"How version 3 encrypts; none leaves it readable."`
	PrivPassword string `json:"priv_password" secret:"true" doc:"Password of the encryption of version 3, of at least 8 characters."`
	Context      string `json:"context" max:"64" doc:"Context of version 3, where a device has several."`
}

// SecretKeys are the fields of Access that hold secrets.
var SecretKeys = []string{"community", "auth_password", "priv_password"}

const shortestPassword = 8 // RFC 3414, 11.2

var (
	versions = map[string]gosnmp.SnmpVersion{"1": gosnmp.Version1, "2c": gosnmp.Version2c, "3": gosnmp.Version3}
	auths    = map[string]gosnmp.SnmpV3AuthProtocol{
		"none": gosnmp.NoAuth, "md5": gosnmp.MD5, "sha": gosnmp.SHA, "sha224": gosnmp.SHA224, "sha256": gosnmp.SHA256, "sha384": gosnmp.SHA384, "sha512": gosnmp.SHA512,
	}
	privs = map[string]gosnmp.SnmpV3PrivProtocol{
		"none": gosnmp.NoPriv, "des": gosnmp.DES, "aes": gosnmp.AES, "aes192": gosnmp.AES192, "aes256": gosnmp.AES256,
	}
)

// Validate says what is wrong with the access. A secret that the host withheld is missing here, and asked for when it is needed.
func (a Access) Validate() error {
	if a.Version != "3" {
		return nil
	}
	switch {
	case a.User == "":
		return sdk.Errorf(sdk.InvalidConfig, "user: version 3 needs one")
	case a.AuthProtocol == "none" && a.PrivProtocol != "none":
		return sdk.Errorf(sdk.InvalidConfig, "priv_protocol: there is no encryption without auth_protocol; set it to none, or state an auth_protocol")
	case a.AuthPassword != "" && len(a.AuthPassword) < shortestPassword:
		return sdk.Errorf(sdk.InvalidConfig, "auth_password: it has fewer than %d characters", shortestPassword)
	case a.PrivPassword != "" && len(a.PrivPassword) < shortestPassword:
		return sdk.Errorf(sdk.InvalidConfig, "priv_password: it has fewer than %d characters", shortestPassword)
	}
	return nil
}

// complete reports what is missing to open an agent.
func (a Access) complete() error {
	var missing []string
	need := func(field, value string, needed bool) {
		if needed && value == "" {
			missing = append(missing, field)
		}
	}
	v3 := a.Version == "3"
	need("community", a.Community, !v3)
	need("auth_password", a.AuthPassword, v3 && a.AuthProtocol != "none")
	need("priv_password", a.PrivPassword, v3 && a.PrivProtocol != "none")
	if len(missing) == 0 {
		return nil
	}
	return sdk.Errorf(sdk.InvalidConfig, "version %s needs %s, and permission to read it", a.Version, strings.Join(missing, " and "))
}

// apply hands the access to the library.
func (a Access) apply(g *gosnmp.GoSNMP) {
	g.Version = versions[a.Version]
	if a.Version != "3" {
		g.Community = a.Community
		return
	}
	g.SecurityModel, g.ContextName, g.MsgFlags = gosnmp.UserSecurityModel, a.Context, gosnmp.NoAuthNoPriv
	usm := &gosnmp.UsmSecurityParameters{UserName: a.User, AuthenticationProtocol: gosnmp.NoAuth, PrivacyProtocol: gosnmp.NoPriv}
	if a.AuthProtocol != "none" {
		g.MsgFlags = gosnmp.AuthNoPriv
		usm.AuthenticationProtocol, usm.AuthenticationPassphrase = auths[a.AuthProtocol], a.AuthPassword
	}
	if a.PrivProtocol != "none" {
		g.MsgFlags = gosnmp.AuthPriv
		usm.PrivacyProtocol, usm.PrivacyPassphrase = privs[a.PrivProtocol], a.PrivPassword
	}
	g.SecurityParameters = usm
}
