package core

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
)

// oidc is the OpenID provider of the configuration; nil when it names none.
func (c *Core) oidc() (*auth.OIDC, error) {
	s := c.cfg.Settings.OIDC
	if s.Issuer == "" {
		return nil, nil
	}
	u, err := url.Parse(s.Issuer)
	if err != nil {
		return nil, fmt.Errorf("oidc.issuer: %w", err)
	}
	o := &auth.OIDC{Name: cmp.Or(s.Name, u.Host), Issuer: s.Issuer, ClientID: s.ClientID, Scopes: s.Scopes, Username: s.UsernameClaim, Claim: s.RoleClaim}
	if s.ClientSecretFile != "" {
		secret, err := os.ReadFile(s.ClientSecretFile)
		if err != nil {
			return nil, fmt.Errorf("read oidc.client_secret_file: %w", err)
		}
		o.ClientSecret = strings.TrimSpace(string(secret))
	}
	for _, r := range s.Roles {
		value, role, _ := strings.Cut(r, "=")
		o.Roles = append(o.Roles, auth.RoleOf{Value: value, Role: role})
	}
	return o, nil
}

// auditElsewhere is where the audit log is sent; nil: nowhere.
func (c *Core) auditElsewhere() (*audit.Syslog, error) {
	s := c.cfg.Settings.Syslog
	if s.Address == "" {
		return nil, nil
	}
	tls, err := audit.SyslogTLS(s.CA, s.Cert, s.Key)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return &audit.Syslog{Store: c.control, Tenant: c.tenant, Address: s.Address, TLS: tls, Host: host, Log: c.cfg.Log}, nil
}

func (c *Core) sendAudit(ctx context.Context) {
	if c.syslog != nil {
		c.syslog.Run(ctx)
	}
}

// verifyAudit answers the command line of the machine's owners.
func (c *Core) verifyAudit(ctx context.Context, r adminsock.AuditRequest, _ int) (string, error) {
	return verifyAudit(ctx, c.control, c.tenant, r.Since)
}

// VerifyAudit checks the audit log of a server that is not running. The answer is an adminsock.AuditReport as JSON.
func VerifyAudit(ctx context.Context, settings config.Picketd, since string) (string, error) {
	_, control, done, err := offline(ctx, settings, "picket audit verify --data "+settings.Data)
	if err != nil {
		return "", err
	}
	defer done()
	return verifyAudit(ctx, control, store.DefaultTenant, since)
}

func verifyAudit(ctx context.Context, control *store.Control, tenant, since string) (string, error) {
	known, err := audit.ParseHead(since)
	if err != nil {
		return "", fmt.Errorf("--since %w", err)
	}
	r, err := control.VerifyAudit(ctx, tenant, known)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(adminsock.AuditReport{Lines: r.Head.Seq, Head: audit.FormatHead(r.Head), Broken: r.Broken, Problem: r.Problem})
	return string(text), err
}
