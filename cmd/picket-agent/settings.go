package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/agent"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/services/traffic"
	"github.com/picketwatch/picket/internal/packetsocket"
)

// settingsFile is where the agent looks for its settings when it is told no other place.
const settingsFile = "/etc/picket/agent.yaml"

// settings is the file agent.yaml. Flags win over it. Who the server is does not stand here: that is decided once, at
// enrolment.
type settings struct {
	Data         string       `yaml:"data"`          // folder with identity, queue and plugins; default /var/lib/picket-agent, of other users than root their state folder
	Helpers      string       `yaml:"helpers"`       // folder of the helper programs; default the one of picket-agent
	Policy       string       `yaml:"policy"`        // this node's policy.yaml; default /etc/picket/policy.yaml, else DATA/policy.yaml
	StatusListen string       `yaml:"status_listen"` // loopback address of the local page; default 127.0.0.1:0
	CAFile       string       `yaml:"ca_file"`       // certificates (PEM) of a private authority that vouches for the server; default none
	InsecureHTTP bool         `yaml:"insecure_http"` // speak plain http to a server on another machine; default false
	QueueSize    config.Bytes `yaml:"queue_size"`    // bound of the queue on disk; default 512MiB
	LogLevel     string       `yaml:"log_level"`     // of what is logged, here and in DATA/logs: debug, info, warn or error; default info
	Capture      []capture    `yaml:"capture"`       // interfaces whose traffic is watched; default none
}

// capture is one interface. The agent needs the capability CAP_NET_RAW for it.
type capture struct {
	Interface   string       `yaml:"interface"`   // its name, as ip link shows it; default none, it must be there
	Filter      string       `yaml:"filter"`      // only these packets, written as for tcpdump; default all
	SnapLen     config.Bytes `yaml:"snaplen"`     // bytes of each packet that are looked at; default 256KiB, all of it
	Ring        config.Bytes `yaml:"ring"`        // memory for packets that wait; default 32MiB
	Promiscuous *bool        `yaml:"promiscuous"` // packets for other machines too; default true
	// Memory for the newest packets: those that a finding rests on go to the server. With 0 no packet leaves this machine; default 64MiB
	Keep *config.Bytes `yaml:"keep"`
}

func (c capture) config() agent.Capture {
	keep := int64(traffic.DefaultKeep)
	if c.Keep != nil {
		keep = int64(*c.Keep)
	}
	return agent.Capture{Keep: keep, Config: packetsocket.Config{Interface: c.Interface, Filter: c.Filter, SnapLen: uint32(min(c.SnapLen, 1<<31)),
		RingBytes: int(c.Ring), Promiscuous: c.Promiscuous == nil || *c.Promiscuous}}
}

// readSettings reads a settings file. A path of "" means the usual one, which may be absent.
func readSettings(path string) (settings, error) {
	named := path != ""
	if !named {
		path = settingsFile
	}
	raw, err := os.ReadFile(path)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return settings{}, nil
	}
	if err != nil {
		return settings{}, fmt.Errorf("read settings: %w", err)
	}
	s, err := parseSettings(raw)
	if err != nil {
		return settings{}, fmt.Errorf("settings %s: %w", path, err)
	}
	return s, nil
}

// parseSettings refuses unknown keys, because a misspelt one would silently do nothing.
func parseSettings(raw []byte) (settings, error) {
	var anything any
	if err := yaml.Unmarshal(raw, &anything); err == nil && anything == nil {
		return settings{}, nil // comments only
	}
	var s settings
	if err := yaml.UnmarshalWithOptions(raw, &s, yaml.Strict()); err != nil {
		return settings{}, config.Explained(err)
	}
	for key, dir := range map[string]string{"data": s.Data, "helpers": s.Helpers, "policy": s.Policy, "ca_file": s.CAFile} {
		if dir != "" && !filepath.IsAbs(dir) {
			return settings{}, fmt.Errorf("%s: %q is not an absolute path", key, dir)
		}
	}
	if s.QueueSize != 0 && s.QueueSize < 1<<20 {
		return settings{}, fmt.Errorf("queue_size: at least 1MiB is needed")
	}
	if _, err := s.level(); err != nil {
		return settings{}, err
	}
	for i, c := range s.Capture {
		one := c.config()
		if err := errors.Join(packetsocket.Check(one.Config), traffic.CheckKeep(one.Keep)); err != nil {
			return settings{}, fmt.Errorf("capture %d: %w", i+1, err)
		}
	}
	return s, nil
}

func (s settings) level() (level slog.Level, err error) {
	if s.LogLevel != "" && level.UnmarshalText([]byte(s.LogLevel)) != nil {
		return level, fmt.Errorf("log_level: %q is none of debug, info, warn and error", s.LogLevel)
	}
	return level, nil
}

// apply sets what no flag says.
func (s settings) apply(cmd *cobra.Command, c *agent.Config) {
	set := func(flag string, from string, to *string) {
		if from != "" && !cmd.Flags().Changed(flag) {
			*to = from
		}
	}
	set("data", s.Data, &c.Dir)
	set("helpers", s.Helpers, &c.Helpers)
	set("status-listen", s.StatusListen, &c.StatusListen)
	set("ca", s.CAFile, &c.CAFile)
	if s.InsecureHTTP && !cmd.Flags().Changed("insecure-http") {
		c.InsecureHTTP = true
	}
	if s.Policy != "" && !cmd.Flags().Changed("policy") {
		c.PolicyFiles = []string{s.Policy}
	}
	c.LogLevel, _ = s.level() // it was read before
	for _, one := range s.Capture {
		c.Captures = append(c.Captures, one.config())
	}
	if s.QueueSize != 0 && !cmd.Flags().Changed("queue-bytes") {
		c.QueueBytes = int64(s.QueueSize)
	}
}
