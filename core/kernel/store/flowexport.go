package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/picketwatch/picket/internal/flowtable"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	exportName = "export-" // files of exports that are being made
	// maxExports is how many are made at the same time; others wait. One holds its columns of up to parquet's largest row group.
	maxExports = 2
)

// FlowExport asks for flows as a file.
type FlowExport struct {
	Tenant   string
	Filter   FlowFilter
	Format   string // one of flowtable.Formats
	Features bool   // all of them, not only what every flow has
	Limit    int    // at most so many flows, the newest; 1,000,000 when 0
}

// FlowFile is an export. Its file has no name any more and is gone once it is closed.
type FlowFile struct {
	File  *os.File
	Flows int
}

// Close gives the space back.
func (f FlowFile) Close() error { return f.File.Close() }

// ExportColumn is a column of an export.
type ExportColumn struct {
	columns.Column
	Feature bool // only in an export with features
}

// ExportColumns are all columns of an export behind the capture.
func ExportColumns() []ExportColumn {
	out := []ExportColumn{}
	for _, c := range columns.Flow() {
		out = append(out, ExportColumn{Column: c})
	}
	out = append(out, ExportColumn{Column: (&exported{}).name()})
	for _, c := range columns.Features() {
		out = append(out, ExportColumn{c, true})
	}
	return out
}

// Export writes the flows that a filter admits into a file, recording by recording in the order in which they were kept: with
// all their columns, which lie in the recordings' frames and not in the tables.
func (f *Flows) Export(ctx context.Context, x FlowExport) (out FlowFile, err error) {
	if !slices.Contains(flowtable.Formats, x.Format) {
		return out, &QueryError{fmt.Sprintf("flows are exported as one of %s, not as %q", strings.Join(flowtable.Formats, ", "), x.Format)}
	}
	if x.Limit <= 0 {
		x.Limit = 1_000_000
	}
	select {
	case f.exports <- struct{}{}:
		defer func() { <-f.exports }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	defer f.memory.page(ctx)()
	parts, incomplete, release := f.parts(ctx, f.runsOf(x.Tenant, x.Filter.Captures))
	defer release()
	if incomplete {
		return out, errors.New("export flows: a part of the store cannot be read; the log says which")
	}
	conn, err := f.engine.db.Conn(ctx)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	if out.Flows, err = f.choose(ctx, conn, parts, x); err != nil {
		return out, fmt.Errorf("export flows: %w", err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS exported") //nolint:errcheck // it goes with the connection, too
	if out.Flows == 0 {
		return out, ErrNotFound
	}
	file, err := os.CreateTemp(f.cfg.Dir, exportName)
	if err != nil {
		return out, explainDuck(f.cfg.Dir, err)
	}
	_ = os.Remove(file.Name())
	if err := f.write(ctx, conn, parts, x, file); err != nil {
		return FlowFile{}, fmt.Errorf("export flows: %w", errors.Join(err, file.Close()))
	}
	out.File = file
	_, err = file.Seek(0, 0)
	return out, err
}

// choose notes in a table which flows are exported, and where they lie.
func (f *Flows) choose(ctx context.Context, conn *sql.Conn, parts []part, x FlowExport) (n int, err error) {
	var selects []string
	var args []any
	for _, p := range parts {
		c, some, err := f.where(ctx, p, x.Filter)
		if err != nil {
			return 0, err
		}
		if some {
			db := p.seg.alias + ".main."
			selects = append(selects, fmt.Sprintf(`(SELECT f.run, f.block, f.item, f.start, coalesce(n.text, '') AS name
				FROM (SELECT * FROM %[1]sflows WHERE %[2]s ORDER BY start DESC, run DESC, id DESC LIMIT %[3]d) f LEFT JOIN %[1]snames n ON n.name = f.name)`,
				db, c, x.Limit))
			args = append(args, c.args...)
		}
	}
	if len(selects) == 0 {
		return 0, nil
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf("CREATE OR REPLACE TEMP TABLE exported AS SELECT run, block, item, name FROM (%s) ORDER BY start DESC, run DESC, block DESC, item DESC LIMIT %d",
		strings.Join(selects, " UNION ALL "), x.Limit), args...)
	if err == nil {
		err = conn.QueryRowContext(ctx, "SELECT count(*) FROM exported").Scan(&n)
	}
	return n, explainDuck(f.cfg.Dir, err)
}

func (f *Flows) write(ctx context.Context, conn *sql.Conn, parts []part, x FlowExport, file *os.File) error {
	buffered := bufio.NewWriterSize(file, 256<<10)
	e := &exported{features: x.Features}
	table, err := flowtable.New(x.Format, buffered, e.columns())
	if err != nil {
		return err
	}
	for _, p := range parts {
		for _, r := range p.runs {
			if err := f.exportRun(ctx, conn, p, r, e, table); err != nil {
				return err
			}
		}
	}
	return errors.Join(table.Close(), buffered.Flush())
}

// exportRun writes the chosen flows of one recording. Frames come in the order of their blocks, as the rows of the table do.
func (f *Flows) exportRun(ctx context.Context, conn *sql.Conn, p part, r *run, e *exported, table flowtable.Writer) error {
	blocks, err := collect(ctx, conn, func(r row) (b uint32, err error) { return b, r.Scan(&b) },
		fmt.Sprintf("SELECT DISTINCT block FROM exported WHERE run = %d::UINTEGER", r.id))
	if err != nil || len(blocks) == 0 {
		return err
	}
	chosen, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT block, item, name FROM exported WHERE run = %d::UINTEGER ORDER BY block, item", r.id))
	if err != nil {
		return err
	}
	defer chosen.Close()
	more := chosen.Next()
	err = f.rows(ctx, p, r, uint8(records.Flows), blocks, func(block uint32, b *sdk.Batch) error {
		for ; more; more = chosen.Next() {
			var at uint32
			var item uint16
			if err := chosen.Scan(&at, &item, &e.called); err != nil {
				return err
			}
			if at != block {
				return nil // scanned again when its frame comes
			}
			if int(item) >= len(b.Flows) {
				return fmt.Errorf("flow %d of block %d of capture %s is not where it should be; analyse the capture again", item, block, r.capture)
			}
			if err := table.Write(r.capture, e.ready(b.Flows[item:item+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && more {
		err = fmt.Errorf("not all flows of capture %s are where they should be; analyse it again", r.capture)
	}
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the recording of capture %s was removed meanwhile; export again", r.capture)
	}
	return errors.Join(err, chosen.Err())
}

// exported is the flow that is being written, with what its frame does not have.
type exported struct {
	features bool
	called   string
}

func (e *exported) name() columns.Column {
	return columns.Column{Name: "name", Direction: "both", Formula: "the first name in what the flow said: a server name, a host, a name that was asked for",
		Text: func(*sdk.Flow) string { return e.called }}
}

func (e *exported) columns() []columns.Column {
	out := append(columns.Flow(), e.name())
	if e.features {
		out = append(out, columns.Features()...)
	}
	return out
}

// ready makes sure that a flow has what its columns read. Features that were not recorded are not known, which is not 0.
func (e *exported) ready(flows []sdk.Flow) []sdk.Flow {
	if e.features && flows[0].Features == nil {
		flows[0].Features = unknownFeatures
	}
	return flows
}

var unknownFeatures = func() *sdk.Features {
	var f sdk.Features
	for v, i := reflect.ValueOf(&f).Elem(), 0; i < v.NumField(); i++ {
		v.Field(i).SetFloat(math.NaN())
	}
	return &f
}()
