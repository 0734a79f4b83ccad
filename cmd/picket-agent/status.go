package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/agent"
	"github.com/picketwatch/picket/core/agent/logbook"
	"github.com/picketwatch/picket/core/services/traffic"
)

func statusCommand(f *flags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this data folder is doing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, data, err := agent.Ask(cmd.Context(), f.Dir, http.MethodGet, "/status")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(string(data)))
				return err
			}
			var st agent.Status
			if err := json.Unmarshal(data, &st); err != nil {
				return fmt.Errorf("understand the agent's status: %w", err)
			}
			return printStatus(cmd.OutOrStdout(), st)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON")
	return c
}

func openCommand(f *flags) *cobra.Command {
	return &cobra.Command{
		Use:   "open",
		Short: "Print an address that opens the agent's page in a browser on this machine, once",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, code, err := agent.Ask(cmd.Context(), f.Dir, http.MethodPost, "/code")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s/open?code=%s\n", address, code)
			return err
		},
	}
}

func logsCommand(f *flags) *cobra.Command {
	q := logbook.Query{}
	level := "debug"
	c := &cobra.Command{
		Use:   "logs",
		Short: "Show what the agent of this data folder logged",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := q.Level.UnmarshalText([]byte(level)); err != nil || q.Most < 1 || q.Most > 100_000 {
				return usage(cmd, fmt.Errorf("--level %s --lines %d: want debug, info, warn or error, and 1 to 100000 lines", level, q.Most))
			}
			lines, err := logbook.Search(filepath.Join(f.Dir, agent.LogFolder), q)
			if err != nil {
				return err
			}
			for _, l := range lines {
				fmt.Fprintf(cmd.OutOrStdout(), "%s %-5s %s %s\n", l.Time.Local().Format(time.DateTime), l.Level, printable(l.Text), printable(l.Rest))
			}
			return nil
		},
	}
	c.Flags().StringVar(&level, "level", level, "this level and above: debug, info, warn or error")
	c.Flags().StringVar(&q.Text, "search", "", "only lines with this text, in any case")
	c.Flags().IntVarP(&q.Most, "lines", "n", 500, "how many lines, the newest")
	return c
}

// printable keeps what a plugin logged from steering a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

func printStatus(out io.Writer, st agent.Status) error {
	contact := "never answered"
	if !st.LastContact.IsZero() {
		contact = "answered at " + st.LastContact.Local().Format(time.DateTime)
	}
	fmt.Fprintf(out, "%s (agent %s, version %s)\n", st.Name, st.AgentID, st.Version)
	fmt.Fprintf(out, "server   %s, %s\n", st.Server, contact)
	if st.Sending.Problem != "" {
		fmt.Fprintf(out, "         cannot send: %s\n", st.Sending.Problem)
	}
	fmt.Fprintf(out, "queue    %d batches wait, %d bytes, %d rows dropped\n", st.Queue.Depth, st.Queue.Bytes, st.Queue.Dropped)
	fmt.Fprintf(out, "trust    %s root %.16s…\n\n", st.Registry.Trust, st.Registry.RootSHA256)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INSTANCE\tPLUGIN\tSTATE\tRESTARTS\tCPU s\tMEMORY MiB\tREASON")
	for _, p := range st.Plugins {
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%d\t%.1f\t%.0f\t%s\n", p.Instance, p.Plugin, p.Version, p.State, p.Restarts,
			p.Ledger.CPUSeconds, float64(p.Ledger.MemoryBytes)/(1<<20), p.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range st.Captures {
		printCapture(out, c)
	}
	for _, text := range st.Waiting {
		fmt.Fprintln(out, text)
	}
	return nil
}

func printCapture(out io.Writer, c traffic.LiveFigures) {
	fmt.Fprintf(out, "capture  %s: %d packets (%.0f/s), %d dropped, %d flows, %d open", c.Interface, c.Packets, c.PerSecond, c.Dropped, c.Flows, c.Open)
	if c.Restarts > 0 {
		fmt.Fprintf(out, ", %d restarts, %d flows lost", c.Restarts, c.LostFlows)
	}
	if c.Problem != "" {
		fmt.Fprintf(out, "\n         cannot capture: %s", c.Problem)
	}
	fmt.Fprintln(out)
}
