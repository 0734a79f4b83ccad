package block

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// firewall speaks the interface of OPNsense for the content of aliases (module firewall, controller alias_util).
type firewall struct {
	client *rest.Client
	alias  string
}

func newFirewall(c *Config, client *rest.Client) *firewall {
	login := base64.StdEncoding.EncodeToString([]byte(c.Key + ":" + c.Secret))
	client.Header = map[string][]string{"Authorization": {"Basic " + login}}
	return &firewall{client: client, alias: c.Alias}
}

const utility = "/api/firewall/alias_util/"

// list returns the addresses that are blocked now.
func (f *firewall) list(ctx context.Context) (map[netip.Addr]bool, error) {
	var answer struct {
		Total *int `json:"total"`
		Rows  []struct {
			IP string `json:"ip"`
		} `json:"rows"`
	}
	if _, err := f.client.Do(ctx, http.MethodGet, utility+"list/"+f.alias, nil, &answer); err != nil {
		return nil, err
	}
	if answer.Total == nil { // it answers so to an alias that is not there, with 200
		return nil, sdk.Errorf(sdk.Downstream, "%s has no alias %s, or the key may not read it", f.client.Name(), f.alias)
	}
	out := map[netip.Addr]bool{}
	for _, r := range answer.Rows {
		if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimSuffix(r.IP, "/32"), "/128")); err == nil {
			out[a.Unmap()] = true
		}
	}
	return out, nil
}

// change adds an address to the alias or takes it out. Both may be done twice.
func (f *firewall) change(ctx context.Context, what string, a netip.Addr) error {
	var answer struct {
		Status string `json:"status"`
	}
	if _, err := f.client.Do(ctx, http.MethodPost, utility+what+"/"+f.alias, map[string]string{"address": a.String()}, &answer); err != nil {
		return err
	}
	if answer.Status != "done" {
		return sdk.Errorf(sdk.Downstream, "%s could not %s %s: status %q", f.client.Name(), what, a, answer.Status)
	}
	return nil
}
