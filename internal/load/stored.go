//go:build linux

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
)

// count reads the files of a server that has ended and compares them with what the agents remember. It asks none of the
// server's code: what that has forgotten or doubled would look right to it.
func count(ctx context.Context, data string, fleet []*agent) (r stored, err error) {
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return r, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := filepath.Glob(filepath.Join(data, "telemetry", "*.duckdb"))
	if err != nil {
		return r, err
	}
	var parts []string
	for i, path := range files {
		info, err := os.Stat(path)
		if err != nil {
			return r, err
		}
		r.Bytes += info.Size()
		alias := fmt.Sprintf("f%d", i)
		if strings.HasPrefix(filepath.Base(path), "catalogue") {
			alias = "catalogue"
		} else {
			parts = append(parts, "SELECT series_id, value FROM "+alias+".main.samples")
		}
		if _, err := db.ExecContext(ctx, fmt.Sprintf("ATTACH '%s' AS %s (READ_ONLY)", path, alias)); err != nil {
			return r, err
		}
	}
	rows, err := db.QueryContext(ctx, `WITH b AS (SELECT agent, value, count(*) AS n FROM (`+strings.Join(parts, " UNION ALL ")+`) s
		JOIN catalogue.main.series c ON c.id = s.series_id WHERE metric LIKE 'load.%' GROUP BY ALL)
		SELECT agent, count(*), max(value)::BIGINT, min(n), max(n), sum(n)::BIGINT FROM b GROUP BY agent`)
	if err != nil {
		return r, err
	}
	defer rows.Close()
	found := map[string]held{}
	for rows.Next() {
		var id string
		var h held
		if err := rows.Scan(&id, &h.batches, &h.last, &h.least, &h.most, &h.rows); err != nil {
			return r, err
		}
		found[id] = h
		r.Samples += h.rows
	}
	for _, a := range fleet {
		r.Acknowledged += a.seq * uint64(a.series)
		h := found[a.id]
		if problem := h.compare(a); problem != "" {
			r.Wrong++
			if len(r.Problems) < 10 {
				r.Problems = append(r.Problems, fmt.Sprintf("agent %s: %s", a.id, problem))
			}
		}
	}
	return r, rows.Err()
}

// stored is what was found.
type stored struct {
	Acknowledged uint64   `json:"acknowledged_samples"`
	Samples      uint64   `json:"stored_samples"`
	Bytes        int64    `json:"bytes"`
	Wrong        int      `json:"agents_with_lost_or_doubled_samples"`
	Problems     []string `json:"problems,omitempty"`
}

// held is what the files have of one agent.
type held struct{ batches, last, least, most, rows uint64 }

// compare says what is wrong, "" when each batch up to the last that was acknowledged is there once and whole, and at most
// the one that was on its way behind it.
func (h held) compare(a *agent) string {
	switch {
	case a.seq == 0 && h.rows == 0:
	case h.batches != h.last || h.last < a.seq:
		return fmt.Sprintf("%d batches are acknowledged, %d are stored, the last is number %d", a.seq, h.batches, h.last)
	case h.last > a.seq+1:
		return fmt.Sprintf("%d batches are acknowledged, number %d is stored and was never sent", a.seq, h.last)
	case h.least != uint64(a.series) || h.most != uint64(a.series):
		return fmt.Sprintf("a batch has %d samples, stored are from %d to %d of one", a.series, h.least, h.most)
	}
	return ""
}
