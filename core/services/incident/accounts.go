package incident

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	searches    = 20 // that are taken up together
	loginPages  = 4  // of 500 logins that are looked at for one finding
	maxAccount  = 128
	lookEvery   = 30 * time.Second
	searchAgain = time.Minute // what an agent recorded comes after what it found
	mostTries   = 4
)

// RunAccounts finds the accounts behind alerts as those change, until ctx ends.
func (s *Service) RunAccounts(ctx context.Context) {
	if s.cfg.Logins == nil {
		return
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if err := s.FindAccounts(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("the accounts behind alerts could not be found; they will be", "error", err)
		}
		select {
		case <-s.names:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// FindAccounts looks for the accounts behind all alerts that have not been searched.
func (s *Service) FindAccounts(ctx context.Context) error {
	for {
		list, err := s.cfg.Store.AccountSearches(ctx, searches)
		if err != nil {
			return err
		}
		any := false
		for _, search := range list {
			found, err := s.accountsOf(ctx, search)
			if err != nil {
				return err
			}
			var later time.Time
			if len(found) == 0 && search.Alert.Agent != "" && search.Tries+1 < mostTries {
				later = time.Now().Add(searchAgain)
			}
			news, err := s.cfg.Store.EndAccountSearch(ctx, search, found, later)
			if err != nil {
				return err
			}
			any = any || news
		}
		if any {
			wake(s.soon)
		}
		if len(list) < searches {
			return nil
		}
	}
}

// accountsOf are those that the logins name on which the findings of an alert rest.
func (s *Service) accountsOf(ctx context.Context, search store.AccountSearch) ([]store.Account, error) {
	found := map[string]bool{}
	for _, f := range search.Findings {
		who, err := netip.ParseAddr(cmp.Or(host(f.Src), host(f.Dst)))
		if err != nil || !slices.ContainsFunc(f.Techniques, takesLogin) {
			continue // a prefix, a name, nobody
		}
		q := store.FactQuery{Tenant: search.Alert.Tenant, Kind: sdk.FactsLogins, Host: netip.PrefixFrom(who, who.BitLen()), From: f.Start, To: f.End.Add(time.Second), Page: store.Page{Limit: 500}}
		if f.CaptureID != "" {
			q.Captures = []string{f.CaptureID}
		}
		for range loginPages {
			page, err := s.cfg.Logins(ctx, q)
			if err != nil {
				return nil, err
			}
			for _, x := range page.Facts {
				login, ok := x.Value.(*sdk.Login)
				if !ok || !restsOn(&f.Finding, login) {
					continue
				}
				if name := accountName(login); name != "" {
					found[name] = found[name] || login.Result == "success"
				}
			}
			if q.Page.Cursor = page.Next; page.Next == "" {
				break
			}
		}
	}
	list := make([]store.Account, 0, len(found))
	for name, in := range found {
		list = append(list, store.Account{Name: name, GotIn: in})
	}
	slices.SortFunc(list, func(a, b store.Account) int { // those that got in first: there may be more than are kept
		return cmp.Or(cmp.Compare(rank(b.GotIn), rank(a.GotIn)), strings.Compare(a.Name, b.Name))
	})
	return list, nil
}

func rank(is bool) int {
	if is {
		return 1
	}
	return 0
}

// restsOn reports whether a finding is about a login: one of the flows that it names, and when it is about guessing, any from its source
// to its target.
func restsOn(f *sdk.Finding, x *sdk.Login) bool {
	client, server := netip.AddrPortFrom(x.Client.Unmap(), x.ClientPort), netip.AddrPortFrom(x.Server.Unmap(), x.ServerPort)
	for _, flow := range f.Flows {
		src, dst := endpoint(flow.Src), endpoint(flow.Dst)
		if src == client && dst == server || src == server && dst == client {
			return true
		}
	}
	if !slices.ContainsFunc(f.Techniques, guesses) {
		return false
	}
	src, dst := host(f.Src), host(f.Dst)
	return (src == "" || src == client.Addr().String()) && (dst == "" || dst == server.Addr().String()) && src+dst != ""
}

// takesLogin reports whether a technique is done by or to an account. To look through what was recorded for every scan and beacon would
// cost as much as their detection.
func takesLogin(technique string) bool {
	switch parent(technique) {
	case "T1003", "T1021", "T1040", "T1047", "T1048", "T1053", "T1078", "T1110", "T1187", "T1486", "T1543", "T1550", "T1552", "T1557", "T1558", "T1569", "T1570":
		return true
	}
	return false
}

func endpoint(text string) netip.AddrPort {
	p, err := netip.ParseAddrPort(text)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// accountName is the account that somebody logged in with, such that the same name means the same account: that of a domain is known in all
// of it, any other only to its server.
func accountName(x *sdk.Login) string {
	user := strings.ToLower(clean(x.User))
	if user == "" || x.Method == "ANONYMOUS" {
		return ""
	}
	if domain, name, ok := strings.Cut(user, `\`); ok && domain != "" && domain != "." {
		return name + "@" + firstLabel(domain)
	}
	user = strings.TrimPrefix(user, `.\`)
	if name, realm, ok := strings.Cut(user, "@"); ok && name != "" && realm != "" {
		if x.Protocol == "kerberos" {
			return name + "@" + firstLabel(realm)
		}
		return user
	}
	if !x.Server.IsValid() {
		return ""
	}
	return user + "@" + x.Server.Unmap().String()
}

// firstLabel is the short name of a domain, by which Windows calls it: corp of corp.example.org.
func firstLabel(domain string) string {
	label, _, _ := strings.Cut(domain, ".")
	return label
}

// clean leaves of a name what people can read: anybody can send any bytes as one.
func clean(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxAccount)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, s))
}
