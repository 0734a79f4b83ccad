package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/agent"
	"github.com/picketwatch/picket/core/services/traffic"
)

// maxStatus bounds what is read from the local page.
const maxStatus = 16 << 20

func statusCommand(f *flags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this data folder is doing",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			data, err := fetchStatus(f.Dir)
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

// fetchStatus asks the running agent over its local page.
func fetchStatus(dir string) ([]byte, error) {
	address, err := os.ReadFile(filepath.Join(dir, agent.AddressFile))
	if err != nil {
		return nil, fmt.Errorf("no agent runs on the data folder %s", dir)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(strings.TrimSpace(string(address)) + "/status")
	if err != nil {
		return nil, fmt.Errorf("the agent of %s does not answer: it may have been killed", dir)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the agent of %s answers %s", dir, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxStatus))
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
