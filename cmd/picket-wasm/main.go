// Command picket-wasm runs one WASM guest as a plugin process, or helps with guests:
//
//	picket-wasm --guest-fd N [--cache DIR --cache-key-fd N] [--memory MIB]   serves the guest whose bytes lie in descriptor N
//	picket-wasm describe FILE                                               prints what the guest says about itself
//	picket-wasm compile --cache DIR --cache-key-fd N FILE                   compiles the guest into the cache; --guest-fd N instead of FILE
//	picket-wasm --version                                                   prints the version
//
// The key of the cache, 32 bytes, comes over a descriptor, so that no list of processes shows it.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the guest trapped, 4 the guest ran past its deadline (on Linux the
// kernel kills the process instead), 5 compile was given what is no guest.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/picketwatch/picket/cmd/picket-wasm/internal/runner"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/sdk/serve"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

// grace is how long a guest may go on after the deadline of a call. The host kills before that, if it is there.
const grace = 2 * time.Second

const defaultMemoryMiB = 256

func main() {
	err := run(os.Args[1:])
	var usage usageError
	var noGuest noGuestError
	switch {
	case err == nil:
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "picket-wasm: %v\nusage: picket-wasm --guest-fd N [--cache DIR --cache-key-fd N] [--memory MIB] | describe FILE | compile --cache DIR --cache-key-fd N FILE | --version\n", err)
		os.Exit(exitUsage)
	case errors.As(err, &noGuest):
		fmt.Fprintln(os.Stderr, "picket-wasm:", err)
		os.Exit(launch.ExitNoGuest)
	default:
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "picket-wasm:", err)
	os.Exit(exitFailed)
}

type usageError struct{ error }

// noGuestError tells whoever had a guest compiled that its bytes are to blame.
type noGuestError struct{ error }

func run(args []string) error {
	command := "serve"
	if len(args) > 0 && (args[0] == "describe" || args[0] == "compile") {
		command, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("picket-wasm", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	fd := flags.Int("guest-fd", -1, "descriptor with the bytes of the guest")
	cache := flags.String("cache", "", "folder of compiled guests")
	keyFD := flags.Int("cache-key-fd", -1, "descriptor with the key of the cache")
	version := flags.Bool("version", false, "print the version")
	memory := flags.Uint64("memory", defaultMemoryMiB, "cap of the guest's memory in MiB")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if *version {
		fmt.Println(config.Version)
		return nil
	}
	if (*cache == "") != (*keyFD < 3) {
		return usageError{errors.New("--cache and --cache-key-fd go together")}
	}
	if *memory < 4 || *memory > 4096 {
		return usageError{fmt.Errorf("--memory %d is not between 4 and 4096 MiB", *memory)}
	}
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := runner.Config{Cache: *cache, Memory: *memory << 20, Log: log, Stderr: os.Stderr, Grace: grace, Fatal: fatal(log)}
	if *cache != "" {
		key, err := readKey(*keyFD)
		if err != nil {
			return err
		}
		cfg.CacheKey = key
	}
	switch command {
	case "describe":
		cfg.Interpret = true
		return describe(cfg, flags.Args())
	case "compile":
		return compile(cfg, *fd, flags.Args())
	}
	if *fd < 3 || flags.NArg() > 0 {
		return usageError{errors.New("--guest-fd must be a descriptor that was handed over")}
	}
	return serveGuest(cfg, *fd)
}

func readKey(fd int) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "cache key")
	defer f.Close()
	key := make([]byte, runner.KeySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, fmt.Errorf("read the key of the cache: %w", err)
	}
	return key, nil
}

// fatal ends the process: the supervisor starts a fresh one.
func fatal(log *slog.Logger) func(error) {
	return func(err error) {
		log.Error(err.Error())
		var trap *runner.TrapError
		if errors.As(err, &trap) {
			os.Exit(runner.ExitTrap)
		}
		os.Exit(runner.ExitDeadline)
	}
}

func serveGuest(cfg runner.Config, fd int) error {
	f := os.NewFile(uintptr(fd), "guest")
	wasm, err := readGuest(f)
	if err != nil {
		return err
	}
	f.Close() // a guest has no business with it, and nothing else has either
	// What is in the cache is started while the host is greeted; what has to be compiled first takes longer than the host
	// waits for an answer.
	backend, cached, opened := runner.NewPending(), make(chan struct{}), make(chan error, 1)
	cfg.Cached = func() { close(cached) }
	go func() {
		g, err := runner.Open(context.Background(), wasm, cfg)
		if err == nil {
			backend.Opened(g)
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			return err
		}
	case <-cached:
		go func() {
			if err := <-opened; err != nil {
				fail(err)
			}
		}()
	}
	serve.Serve(backend) // exits the process
	return nil
}

// readGuest reads from the start, whatever the descriptor's position is: several processes may share it.
func readGuest(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the guest: %w", err)
	}
	if info.Size() > runner.MaxModule {
		return nil, fmt.Errorf("read the guest: %d bytes are more than %d", info.Size(), runner.MaxModule)
	}
	wasm := make([]byte, info.Size())
	if _, err := f.ReadAt(wasm, 0); err != nil {
		return nil, fmt.Errorf("read the guest: %w", err)
	}
	return wasm, nil
}

func openFile(cfg runner.Config, args []string) (*runner.Guest, error) {
	if len(args) != 1 {
		return nil, usageError{errors.New("one guest file is needed")}
	}
	f, err := os.Open(args[0])
	if err != nil {
		return nil, fmt.Errorf("open guest: %w", err)
	}
	defer f.Close()
	wasm, err := readGuest(f)
	if err != nil {
		return nil, err
	}
	g, err := runner.Open(context.Background(), wasm, cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", args[0], err)
	}
	return g, nil
}

func describe(cfg runner.Config, args []string) error {
	g, err := openFile(cfg, args)
	if err != nil {
		return err
	}
	plugins, err := runner.NewBackend(g).Describe(context.Background())
	if err != nil {
		return err
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return errors.Join(enc.Encode(plugins), g.Close(context.Background()))
}

// compile runs nothing of the guest: this process can write the cache, which no guest may come near.
func compile(cfg runner.Config, fd int, args []string) error {
	if cfg.Cache == "" {
		return usageError{errors.New("compile needs --cache")}
	}
	var f *os.File
	switch {
	case fd >= 3 && len(args) == 0:
		f = os.NewFile(uintptr(fd), "guest")
	case fd < 0 && len(args) == 1:
		var err error
		if f, err = os.Open(args[0]); err != nil {
			return fmt.Errorf("open guest: %w", err)
		}
	default:
		return usageError{errors.New("one guest is needed, as a file or as --guest-fd")}
	}
	defer f.Close()
	wasm, err := readGuest(f)
	if err != nil {
		return err
	}
	err = runner.Compile(context.Background(), wasm, cfg)
	if errors.As(err, new(*runner.GuestError)) {
		return noGuestError{err}
	}
	return err
}
