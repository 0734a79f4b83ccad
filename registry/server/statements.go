package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/picketwatch/picket/registry"
)

// ErrRefused says that a statement of a node, or a report, is not taken. The text says why.
var ErrRefused = errors.New("not taken")

// maxSkew is how far ahead of ours the clock of a node may be.
const maxSkew = 5 * time.Minute

// Receive takes a receipt of a node. It counts once for each node and plugin.
func (s *Server) Receive(ctx context.Context, data []byte) error {
	r, err := registry.ParseReceipt(data)
	if err == nil {
		err = s.trust(ctx, claim{r.RootSHA256, r.Node, r.ID, r.Version, r.Descriptor, r.Time}, r.Verify)
	}
	if err != nil {
		return refused(err)
	}
	return refuseKnown(s.ledger.receipt(*r))
}

// Review takes a review of a node that has a receipt for the plugin; its last one counts.
func (s *Server) Review(ctx context.Context, data []byte) error {
	r, err := registry.ParseReview(data)
	if err == nil {
		err = s.trust(ctx, claim{r.RootSHA256, r.Node, r.ID, r.Version, r.Descriptor, r.Time}, r.Verify)
	}
	if err != nil {
		return refused(err)
	}
	return refuseKnown(s.ledger.review(*r))
}

// claim is what every statement of a node says.
type claim struct {
	root, node, id, version, descriptor string
	at                                  time.Time
}

var errUnknownNode = errors.New("this registry does not know the node that signed it")

// trust reports why a statement does not count. Its signature comes last: nothing is spent on what makes no sense.
func (s *Server) trust(ctx context.Context, c claim, verify func(ed25519.PublicKey) error) error {
	if c.root != s.current().index.RootSHA256 {
		return errors.New("it is for another registry")
	}
	_, r, err := s.release(ctx, c.id, c.version)
	switch {
	case err != nil:
		return err
	case r.Descriptor != c.descriptor:
		return fmt.Errorf("this registry's %s %s is another release", c.id, c.version)
	case c.at.After(s.cfg.Now().Add(maxSkew)):
		return errors.New("it is from the future; set the node's clock")
	}
	key, ok := s.cfg.Nodes(c.node)
	if !ok {
		return errUnknownNode
	}
	return verify(key)
}

// Reviews returns what nodes say of a plugin, the newest first.
func (s *Server) Reviews(ctx context.Context, id string) ([]registry.Review, error) {
	if _, _, err := s.release(ctx, id, ""); err != nil {
		return nil, err
	}
	return list(s.ledger.reviewsOf(id)), nil
}

// ReportReasons are what a report can be about.
var ReportReasons = []string{"malware", "impersonation", "copyright", "spam", "broken", "other"}

// Report takes a complaint.
func (s *Server) Report(ctx context.Context, r Report) error {
	if _, _, err := s.release(ctx, r.ID, r.Version); err != nil {
		return refused(err)
	}
	switch {
	case !slices.Contains(ReportReasons, r.Reason):
		return refused(fmt.Errorf("reason: must be one of %s", strings.Join(ReportReasons, ", ")))
	case strings.TrimSpace(r.Text) == "" || len(r.Text) > 4000 || len(r.Contact) > 200:
		return refused(errors.New("text: between 1 and 4000 bytes; contact: at most 200"))
	}
	r.Text, r.Contact, r.Time = plain(r.Text), plain(r.Contact), s.cfg.Now().UTC().Truncate(time.Second)
	return refuseKnown(s.ledger.report(r))
}

// plain takes out what could deceive whoever reads a report on a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError) {
			return -1
		}
		return r
	}, text)
}

// ReadReports returns the complaints in a registry's folder, whether a server runs on it or not.
func ReadReports(dir string) ([]Report, error) {
	var reports []Report
	err := readJournal(filepath.Join(dir, folder), func(r record) error {
		switch {
		case r.Report != nil:
			reports = append(reports, *r.Report)
		case r.Read:
			reports = nil
		}
		return nil
	})
	return reports, err
}

// ClearReports forgets the complaints in a registry's folder, once somebody has read them. No server may run on it.
func ClearReports(dir string) error {
	l, err := openLedger(filepath.Join(dir, folder), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(l.journal.add(record{Read: true}), l.close())
}

func refused(err error) error { return fmt.Errorf("%w: %w", ErrRefused, err) }

// refuseKnown tells what is wrong with a statement from trouble of our own.
func refuseKnown(err error) error {
	for _, known := range []error{errNotNewer, errNoReceipt, errFull} {
		if errors.Is(err, known) {
			return refused(err)
		}
	}
	return err
}
