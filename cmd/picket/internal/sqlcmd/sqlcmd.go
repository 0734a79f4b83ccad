// Package sqlcmd is `picket sql`: it asks a running server in SQL, and prints what it answers as a table.
package sqlcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/serverapi"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// options are what the command line says.
type options struct {
	server       serverapi.Server
	during       time.Duration
	json, tables bool
	now          func() time.Time
}

// New returns the command.
func New() *cobra.Command {
	o := options{server: serverapi.Server{Role: "ADM"}, now: time.Now}
	cmd := &cobra.Command{
		Use:   "sql QUERY",
		Short: "Ask a server in SQL, as an administrator",
		Long: `Answer one SELECT, in DuckDB's SQL, over what a running server has stored: samples and flows of the time that --range says, and
lists of machines, devices, alerts and so on. Nothing can be changed, and no table holds a secret. Each query stands in the audit log.
--tables lists the tables and their columns; docs/sql.md says more.`,
		Example: "  picket sql --token-file T --tables\n  picket sql --token-file T 'SELECT severity, count(*) FROM alerts GROUP BY ALL'\n" +
			"  picket sql --token-file T --range 24h 'SELECT agent, avg(value) FROM samples WHERE metric = ''system.cpu.utilization'' GROUP BY agent'",
		Args: func(cmd *cobra.Command, args []string) error {
			if o.tables != (len(args) == 0) || len(args) > 1 {
				return usage.Errorf("give one query, in quotes, or --tables: %s 'SELECT count(*) FROM agents'", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.tables {
				return o.list(cmd.Context(), cmd.OutOrStdout())
			}
			return o.query(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.server.URL, "server", "http://127.0.0.1:8080", "the server's address")
	cmd.Flags().StringVar(&o.server.TokenFile, "token-file", "", "a `FILE` with an administrator's API token, as picket token create prints it")
	cmd.Flags().DurationVar(&o.during, "range", time.Hour, "samples, sums and flows of this time up to now")
	cmd.Flags().BoolVar(&o.tables, "tables", false, "list the tables and their columns")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the answer as the server gives it")
	return cmd
}

// answer is what the server says.
type answer struct {
	Columns []struct {
		Name, Type string
	}
	Rows      [][]json.RawMessage
	Truncated bool
}

func (o *options) query(ctx context.Context, text string, out, errs io.Writer) error {
	if o.during <= 0 {
		return usage.Errorf("--range is a time before now, for example 24h")
	}
	now := o.now().UTC()
	order, err := json.Marshal(map[string]any{"sql": text, "from": now.Add(-o.during), "to": now})
	if err != nil {
		return err
	}
	raw, err := o.ask(ctx, http.MethodPost, order)
	if err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", o.server.URL, err)
	}
	if a.Truncated {
		fmt.Fprintf(errs, "These are the first %d rows; there are more.\n", len(a.Rows))
	}
	if o.json {
		return columns.JSON(out, json.RawMessage(raw))
	}
	var rows [][]columns.Cell
	var head []columns.Cell
	for _, c := range a.Columns {
		head = append(head, columns.S(columns.Dim, c.Name))
	}
	rows = append(rows, head)
	for _, row := range a.Rows {
		var cells []columns.Cell
		for _, cell := range row {
			cells = append(cells, columns.C(shown(cell)))
		}
		rows = append(rows, cells)
	}
	columns.New(out).Table(rows)
	return nil
}

// shown is a value on one line of a terminal.
func shown(raw json.RawMessage) string {
	text := string(raw)
	if text == "null" {
		return "NULL"
	}
	var word string
	if json.Unmarshal(raw, &word) == nil {
		text = word
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

func (o *options) list(ctx context.Context, out io.Writer) error {
	raw, err := o.ask(ctx, http.MethodGet, nil)
	if err != nil {
		return err
	}
	if o.json {
		return columns.JSON(out, json.RawMessage(raw))
	}
	var said struct {
		Tables []struct {
			Name, Doc string
			Columns   []struct{ Name, Type, Doc string }
		}
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", o.server.URL, err)
	}
	p := columns.New(out)
	for _, t := range said.Tables {
		p.Line(columns.C(t.Name), columns.S(columns.Dim, "  "+t.Doc))
		var rows [][]columns.Cell
		for _, c := range t.Columns {
			rows = append(rows, []columns.Cell{columns.C("  " + c.Name), columns.C(c.Type), columns.S(columns.Dim, c.Doc)})
		}
		p.Table(rows)
	}
	return nil
}

func (o *options) ask(ctx context.Context, method string, order []byte) ([]byte, error) {
	return o.server.Do(ctx, method, "/api/v1/admin/sql", "application/json", bytes.NewReader(order))
}
