package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// DefaultFile is where picketd looks for its configuration when it is told no other place.
const DefaultFile = "/etc/picket/picketd.yaml"

// Picketd is the server's configuration file. Flags win over it.
type Picketd struct {
	Listen    string `yaml:"listen"`     // address, as host:port; default 127.0.0.1:8080
	Data      string `yaml:"data"`       // folder of everything the server keeps; default /var/lib/picket
	KeyFile   string `yaml:"key_file"`   // key of secrets at rest, outside the data folder; default DATA-keys/secret.key
	TLSCert   string `yaml:"tls_cert"`   // certificate chain (PEM); with tls_key the server speaks https; default none
	TLSKey    string `yaml:"tls_key"`    // private key (PEM) of tls_cert; default none
	PublicURL string `yaml:"public_url"` // web address that agents and links use; default derived from listen
	Policy    string `yaml:"policy"`     // this node's policy.yaml; default /etc/picket/policy.yaml, else DATA/policy.yaml
	// TrustedProxies are the networks (CIDR) of the proxies in front of this server: what they say in X-Forwarded-For
	// about where a request comes from is believed. Default none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// MetricsOpenOnLoopback lets whoever is on this machine read /metrics without a token. Default false.
	MetricsOpenOnLoopback bool `yaml:"metrics_open_on_loopback"`

	Log       Log       `yaml:"log"`
	Telemetry Telemetry `yaml:"telemetry"`
	Flows     Flows     `yaml:"flows"`
	Backups   Backups   `yaml:"backups"`
	Captures  Captures  `yaml:"captures"`
	Evidence  Evidence  `yaml:"evidence"`
	Sessions  Sessions  `yaml:"sessions"`
	OIDC      OIDC      `yaml:"oidc"`
	Syslog    Syslog    `yaml:"syslog"`
	Agents    Agents    `yaml:"agents"`
	Registry  Registry  `yaml:"registry"`
}

// Registry says how this server keeps its registry.
type Registry struct {
	// Refresh is how often registries on the network are asked for news, and so how late a revocation reaches this server
	// at most. One in a folder of this machine is seen to change within seconds. Default 10m.
	Refresh Duration `yaml:"refresh"`
	// Keys is the folder with the online keys of the registry in the data folder: with it this server takes releases.
	// Default none.
	Keys string `yaml:"keys"`
}

// Log says what is logged.
type Log struct {
	Level string `yaml:"level"` // what is logged at least: debug, info, warn or error; default info
}

// Telemetry bounds the store of samples.
type Telemetry struct {
	MemoryLimit Bytes    `yaml:"memory_limit"` // memory of the store of samples; default 256MiB
	Threads     int      `yaml:"threads"`      // threads of the store of samples; default 2
	Retention   Duration `yaml:"retention"`    // how long samples are kept; default 30d
	Archive     Duration `yaml:"archive"`      // age at which a day of samples becomes a compressed Parquet file; default 7d
	FiveMinutes Duration `yaml:"five_minutes"` // how long sums of five minutes are kept; default 90d
	Hours       Duration `yaml:"hours"`        // how long sums of hours are kept; default 730d
	Days        Duration `yaml:"days"`         // how long sums of days are kept; default 1825d
}

// Captures bounds what people hand in.
type Captures struct {
	MaxUpload   Bytes    `yaml:"max_upload"`   // size of the largest capture file that is taken, compressed or not; default 2GiB
	MaxAnalysis Duration `yaml:"max_analysis"` // how long the analysis of one capture may take; default 6h
}

// Flows bounds the store of flows.
type Flows struct {
	MemoryLimit Bytes    `yaml:"memory_limit"` // memory of the store of flows; default 256MiB
	Threads     int      `yaml:"threads"`      // threads of the store of flows; default 2
	Retention   Duration `yaml:"retention"`    // how long flows are kept after they were recorded, whenever they were; default 30d
}

// Backups says when the server makes a backup of itself.
type Backups struct {
	Every     Duration `yaml:"every"`     // how often; default none
	Mode      string   `yaml:"mode"`      // full, data (without samples) or config (without all that was measured and found); default full
	Keep      int      `yaml:"keep"`      // how many of them are kept; default 7
	Recipient string   `yaml:"recipient"` // a key of age (age1…) that they are encrypted for; default none
	Captures  bool     `yaml:"captures"`  // with the captures that people handed in; default false
}

// Evidence bounds the packets that agents keep for what they find.
type Evidence struct {
	Size      Bytes    `yaml:"size"`      // disk for packets of live alerts; the oldest make room; default 2GiB
	Retention Duration `yaml:"retention"` // how long packets of live alerts are kept; default 90d
}

// Sessions bounds how long people stay signed in.
type Sessions struct {
	Idle     Duration `yaml:"idle"`     // how long somebody who does nothing stays signed in; default 12h
	Absolute Duration `yaml:"absolute"` // how long anybody stays signed in; default 7d
}

// OIDC names an OpenID provider where people may sign in. It sends them back to public_url + /api/v1/oidc/callback.
type OIDC struct {
	Issuer           string   `yaml:"issuer"`             // web address of the OpenID provider; default none
	Name             string   `yaml:"name"`               // what the button on the sign-in page says; default derived from the issuer's host
	ClientID         string   `yaml:"client_id"`          // as the provider knows this server; default none
	ClientSecretFile string   `yaml:"client_secret_file"` // file with the secret that goes with it; default none
	Scopes           []string `yaml:"scopes"`             // what to ask for besides openid; default [profile]
	UsernameClaim    string   `yaml:"username_claim"`     // the claim that is the user name here; default preferred_username
	RoleClaim        string   `yaml:"role_claim"`         // the claim that roles come from, a text or a list of texts; default groups
	// Roles are value=ROLE, for example netops=IT. The first whose value the claim holds counts; who has none may not come
	// in. Default none.
	Roles []string `yaml:"roles"`
}

// Syslog says where the audit log is sent as it grows: RFC 5424 over TLS.
type Syslog struct {
	Address string `yaml:"address"` // host:port of the syslog server; default none
	CA      string `yaml:"ca"`      // authority (PEM) that vouches for the syslog server; default derived: the system's
	Cert    string `yaml:"cert"`    // certificate (PEM) that this server shows; default none
	Key     string `yaml:"key"`     // private key (PEM) of cert; default none
}

// Agents says when an agent counts as late or offline.
type Agents struct {
	LateAfter Duration `yaml:"late_after"` // silence after which an agent counts as late; default 90s
	LostAfter Duration `yaml:"lost_after"` // silence after which it counts as offline; default 5m
}

// Default is the configuration of a server without a file.
func Default() Picketd {
	return Picketd{
		Listen:    "127.0.0.1:8080",
		Data:      "/var/lib/picket",
		Log:       Log{Level: "info"},
		Telemetry: Telemetry{MemoryLimit: 256 << 20, Threads: 2, Retention: days(30), Archive: days(7), FiveMinutes: days(90), Hours: days(730), Days: days(1825)},
		Flows:     Flows{MemoryLimit: 256 << 20, Threads: 2, Retention: days(30)},
		Backups:   Backups{Mode: "full", Keep: 7},
		Captures:  Captures{MaxUpload: 2 << 30, MaxAnalysis: Duration(6 * time.Hour)},
		Evidence:  Evidence{Size: 2 << 30, Retention: Duration(90 * 24 * time.Hour)},
		Sessions:  Sessions{Idle: Duration(12 * time.Hour), Absolute: Duration(7 * 24 * time.Hour)},
		OIDC:      OIDC{Scopes: []string{"profile"}, UsernameClaim: "preferred_username", RoleClaim: "groups"},
		Agents:    Agents{LateAfter: Duration(90 * time.Second), LostAfter: Duration(5 * time.Minute)},
		Registry:  Registry{Refresh: Duration(10 * time.Minute)},
	}
}

func days(n int) Duration { return Duration(n) * Duration(24*time.Hour) }

// Load reads a configuration file over the defaults and checks it. Unknown keys are refused, because a misspelt one
// would silently do nothing. A path of "" means DefaultFile, which may be absent.
func Load(path string) (Picketd, error) {
	named := path != ""
	if !named {
		path = DefaultFile
	}
	raw, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Picketd{}, fmt.Errorf("read configuration: %w", err)
	}
	c, err := Parse(raw)
	if err != nil {
		return Picketd{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// Parse reads the text of a configuration file over the defaults and checks it.
func Parse(raw []byte) (Picketd, error) {
	c := Default()
	var anything any
	if err := yaml.Unmarshal(raw, &anything); err == nil && anything == nil {
		return c, nil // comments only; decoding nothing into a struct would clear it
	}
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return Picketd{}, Explained(err)
	}
	return c, c.Validate()
}

// Explained says what is wrong with a file in the words of its parser, and where the keys stand that there are.
func Explained(err error) error {
	text := strings.TrimSpace(yaml.FormatError(err, false, true))
	var unknown *yaml.UnknownFieldError
	if errors.As(err, &unknown) {
		text += "\n" + KeysHint
	}
	return errors.New(text)
}

// KeysHint says where every key of every file is explained.
const KeysHint = "docs/configuration.md explains every key that there is"

// Validate says all that is wrong, each with the key to change.
func (c Picketd) Validate() error {
	var problems []error
	wrong := func(key, format string, args ...any) {
		problems = append(problems, fmt.Errorf(key+": "+format, args...))
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		wrong("listen", "%q is not host:port, for example 127.0.0.1:8080", c.Listen)
	} else if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		wrong("listen", "port %q is not between 0 and 65535", port)
	}
	if c.Data == "" {
		wrong("data", "must name a folder")
	}
	if c.KeyFile != "" && c.Data != "" && inside(c.KeyFile, c.Data) {
		wrong("key_file", "%s lies inside the data folder %s; a copy of the folder would hold both lock and key", c.KeyFile, c.Data)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		wrong("tls_cert", "tls_cert and tls_key are needed together")
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			wrong("public_url", "%q is not a web address, for example https://picket.example.org", c.PublicURL)
		}
	}
	for _, text := range c.TrustedProxies {
		if _, err := netip.ParsePrefix(text); err != nil {
			wrong("trusted_proxies", "%q is not a network, for example 10.0.0.0/8 or 192.0.2.7/32", text)
		}
	}
	switch c.Log.Level {
	case "debug", "info", "warn", "error":
	default:
		wrong("log.level", "%q is not debug, info, warn or error", c.Log.Level)
	}
	for _, x := range []struct {
		key       string
		memory    Bytes
		threads   int
		retention Duration
	}{
		{"telemetry", c.Telemetry.MemoryLimit, c.Telemetry.Threads, c.Telemetry.Retention},
		{"flows", c.Flows.MemoryLimit, c.Flows.Threads, c.Flows.Retention},
	} {
		if x.memory < 64<<20 {
			wrong(x.key+".memory_limit", "must be at least 64MiB")
		}
		if x.threads < 1 || x.threads > 256 {
			wrong(x.key+".threads", "must be between 1 and 256")
		}
		if x.retention < Duration(time.Hour) {
			wrong(x.key+".retention", "must be at least 1h")
		}
	}
	for key, v := range map[string]Duration{"archive": c.Telemetry.Archive, "five_minutes": c.Telemetry.FiveMinutes, "hours": c.Telemetry.Hours, "days": c.Telemetry.Days} {
		if v < days(1) {
			wrong("telemetry."+key, "must be at least 1d")
		}
	}
	if b := c.Backups; b.Every != 0 && b.Every < Duration(time.Hour) {
		wrong("backups.every", "must be at least 1h")
	}
	switch c.Backups.Mode {
	case "full", "data", "config":
	default:
		wrong("backups.mode", "%q is not full, data or config", c.Backups.Mode)
	}
	if c.Backups.Keep < 1 {
		wrong("backups.keep", "must be at least 1")
	}
	if r := c.Backups.Recipient; r != "" && !strings.HasPrefix(r, "age1") {
		wrong("backups.recipient", "%q is no key of age; they begin with age1", r)
	}
	if c.Captures.MaxUpload < 1<<20 {
		wrong("captures.max_upload", "must be at least 1MiB")
	}
	if c.Captures.MaxAnalysis < Duration(time.Minute) {
		wrong("captures.max_analysis", "must be at least 1m")
	}
	if c.Evidence.Size < 16<<20 {
		wrong("evidence.size", "must be at least 16MiB")
	}
	if c.Evidence.Retention < Duration(time.Hour) {
		wrong("evidence.retention", "must be at least 1h")
	}
	if c.Sessions.Idle < Duration(time.Minute) || c.Sessions.Absolute < c.Sessions.Idle {
		wrong("sessions", "idle must be at least 1m, and absolute at least idle")
	}
	c.OIDC.validate(c.PublicURL, wrong)
	if c.Syslog.Address != "" {
		if _, _, err := net.SplitHostPort(c.Syslog.Address); err != nil {
			wrong("syslog.address", "%q is not host:port, for example logs.example.org:6514", c.Syslog.Address)
		}
	}
	if (c.Syslog.Cert == "") != (c.Syslog.Key == "") {
		wrong("syslog.cert", "cert and key are needed together")
	}
	if c.Agents.LateAfter < Duration(time.Second) || c.Agents.LostAfter < c.Agents.LateAfter {
		wrong("agents", "late_after must be at least 1s, and lost_after at least late_after")
	}
	if c.Registry.Refresh < Duration(10*time.Second) || c.Registry.Refresh > Duration(24*time.Hour) {
		wrong("registry.refresh", "must be between 10s and 24h: it is how late a revocation may arrive")
	}
	return errors.Join(problems...)
}

func (o OIDC) validate(publicURL string, wrong func(key, format string, args ...any)) {
	if o.Issuer == "" {
		return
	}
	if u, err := url.Parse(o.Issuer); err != nil || u.Host == "" || u.Scheme != "https" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" {
		wrong("oidc.issuer", "%q is not a web address with https", o.Issuer)
	}
	if o.ClientID == "" {
		wrong("oidc.client_id", "must be what the provider knows this server as")
	}
	if publicURL == "" {
		wrong("oidc", "needs public_url: the provider sends people back to that address")
	}
	if len(o.Roles) == 0 {
		wrong("oidc.roles", "must say who gets which role, for example [netops=IT]: nobody could come in")
	}
	for _, r := range o.Roles {
		if value, role, ok := strings.Cut(r, "="); !ok || value == "" || role == "" {
			wrong("oidc.roles", "%q is not value=ROLE, for example netops=IT", r)
		}
	}
}

// Proxies are the networks of TrustedProxies.
func (c Picketd) Proxies() []netip.Prefix {
	var out []netip.Prefix
	for _, text := range c.TrustedProxies {
		if p, err := netip.ParsePrefix(text); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}

// SecretKeyFile is where the key of secrets at rest lies: beside the data folder and not in it.
func (c Picketd) SecretKeyFile() string {
	if c.KeyFile != "" {
		return c.KeyFile
	}
	return filepath.Join(filepath.Clean(c.Data)+"-keys", "secret.key")
}

func inside(path, dir string) bool {
	p, err1 := filepath.Abs(path)
	d, err2 := filepath.Abs(dir)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
