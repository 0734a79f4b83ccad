package registrycmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/cmd/picket/internal/keyfile"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry/mirror"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/server"
)

func serveCmd() *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Use:   "serve --dir DIR [--listen ADDR]",
		Short: "Serve a registry: its files, search, plugin pages, receipts and reviews, a feed",
		Long: `Serve a registry: its files, search, plugin pages, receipts and reviews, a feed.

The folder itself is all that a node needs, and any web server can serve it; this one adds what helps people to choose.
With --keys, the folder of the online keys, it also takes in what authors send with picket plugin publish, and signs the
timestamp again in time. Nodes whose receipts and reviews count are named with picket registry node add. With --from and
--root-sha256 it stands in for another registry: what is asked for is brought from there, verified, kept, and served on
when the other one is away.`,
		Example: "  picket registry serve --dir registry --keys online --listen :8080\n" +
			"  picket registry serve --dir copy --from https://registry.example/ --root-sha256 3f2a…",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&s.dir, "dir", "", "the registry's folder")
	f.StringVar(&s.keys, "keys", "", "the folder of the online keys: take releases in, and sign the timestamp again")
	f.StringVar(&s.passphrase, "passphrase-file", "", "a file with the passphrase of the keys (default: ask on a terminal, at the start)")
	s.gates.Flags(cmd)
	f.StringVar(&s.listen, "listen", "127.0.0.1:8080", "the address to listen on; port 0 takes a free one")
	f.StringVar(&s.cert, "tls-cert", "", "a certificate (PEM); without one it speaks plain HTTP, for a proxy in front of it")
	f.StringVar(&s.key, "tls-key", "", "the certificate's key (PEM)")
	f.StringVar(&s.public, "public-url", "", "under which people reach it, for links in feeds")
	f.StringVar(&s.from, "from", "", "another registry to stand in for")
	f.StringVar(&s.root, "root-sha256", "", "with --from: the digest of its root.json (the first time)")
	f.Int64Var(&s.cacheMB, "cache-mb", 0, "with --from: how much is kept of what was brought; what nobody asks for goes first (default: everything)")
	f.StringArrayVar(&s.locks, "keep-lock", nil, "with --cache-mb: a plugins.lock whose plugins are kept whatever their age")
	f.BoolVar(&s.asJSON, "json", false, "print the address as JSON")
	require(cmd, "dir")
	return cmd
}

type serving struct {
	dir, keys, passphrase, listen, cert, key, public, from, root string
	asJSON                                                       bool
	cacheMB                                                      int64
	locks                                                        []string
	gates                                                        gatecheck.Options
}

func (s serving) run(cmd *cobra.Command) error {
	if err := usage.Together(cmd, "tls-cert", "tls-key"); err != nil {
		return err
	}
	if s.from != "" && s.keys != "" {
		return usage.Errorf("--from and --keys exclude each other: what stands in for another registry signs nothing")
	}
	switch {
	case s.cacheMB < 0:
		return usage.Errorf("--cache-mb: a number of megabytes")
	case s.cacheMB > 0 && s.from == "":
		return usage.Errorf("--cache-mb is for a server that stands in for another one (--from); a registry keeps everything")
	case len(s.locks) > 0 && s.cacheMB == 0:
		return usage.Errorf("--keep-lock says what a bound must spare; name one with --cache-mb")
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	cfg := server.Config{Dir: s.dir, Nodes: server.NodesOf(s.dir), PublicURL: s.public, Log: log}
	var keeper *publish.Keeper
	if s.keys != "" {
		var err error
		if keeper, err = s.keeper(cmd); err != nil {
			return err
		}
		in, err := s.intake(cmd, keeper, log)
		if err != nil {
			return err
		}
		defer in.Close()
		cfg.Intake, cfg.WriteCounts = in, keeper.WriteCounts
	}
	if s.from != "" {
		m, err := mirror.Open(mirror.Config{Dir: s.dir, From: s.from, RootSHA256: s.root, MaxBytes: s.cacheMB << 20, Locks: s.locks, Log: log})
		if err != nil {
			return err
		}
		defer m.Close()
		cfg.Upstream = m
	}
	srv, err := server.Open(cfg)
	if err != nil {
		return err
	}
	defer srv.Close()
	listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", s.listen)
	if err != nil {
		return err
	}
	if err := s.announce(cmd, listener); err != nil {
		return errors.Join(err, listener.Close())
	}
	if s.keys != "" {
		go renewOnTime(cmd.Context(), keeper, log)
	}
	return s.serve(cmd.Context(), listener, srv.Handler())
}

// keeper unlocks the online keys. Somebody is asked for passphrases at the start and nobody later: a key that comes while
// the server runs lies there as it is, or under the passphrase of the file.
func (s serving) keeper(cmd *cobra.Command) (*publish.Keeper, error) {
	ask := keyfile.Unlock(cmd, s.passphrase)
	started := false
	unlock := func(path string) ([]byte, error) {
		switch {
		case ask == nil:
			return nil, errors.New("it is under a passphrase; name the file that has it with --passphrase-file")
		case started && s.passphrase == "":
			return nil, publish.ErrLocked
		}
		return ask(path)
	}
	k, err := publish.NewKeeper(publish.Config{Dir: s.dir, Keys: s.keys, Unlock: unlock})
	started = true
	return k, err
}

func (s serving) announce(cmd *cobra.Command, l net.Listener) error {
	scheme := "http"
	if s.cert != "" {
		scheme = "https"
	}
	url := scheme + "://" + l.Addr().String() + "/"
	if s.asJSON {
		return columns.JSON(cmd.OutOrStdout(), map[string]string{"url": url})
	}
	columns.New(cmd.OutOrStdout()).Line(columns.C("serving "+s.dir+" on "), columns.S(columns.Good, url))
	return nil
}

// How long a peer may take for the head of a request, and a request that runs to end when the server is stopped.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	stopTimeout   = 10 * time.Second
)

// serve answers until ctx ends, and lets requests that run then finish.
func (s serving) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	web := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- web.Shutdown(grace)
	}()
	var err error
	if s.cert != "" {
		err = web.ServeTLS(l, s.cert, s.key)
	} else {
		err = web.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve registry: %w", err)
	}
	return <-stopped
}

// renewEvery is far below the shortest life of a signature, and not so often that versions run away.
const renewEvery = 6 * time.Hour

// renewOnTime signs the timestamp again, and whatever else is due and has its keys here.
func renewOnTime(ctx context.Context, keeper *publish.Keeper, log *slog.Logger) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		done, err := keeper.Renew(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			log.Error("the registry could not be signed again; nodes refuse it once its signatures are out of date", "error", err)
		case len(done.Waiting) > 0:
			log.Warn("signatures of roles whose keys are elsewhere are due", "roles", done.Waiting)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
