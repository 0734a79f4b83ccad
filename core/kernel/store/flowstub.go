package store

import (
	"context"
	"os"
)

type FlowExport struct {
	Tenant string
	Filter FlowFilter
	Format string
	Limit  int
}

type FlowFile struct {
	File  *os.File
	Flows int
}

func (f FlowFile) Close() error { return f.File.Close() }

func (s *Flows) Summary(ctx context.Context, tenant string, f FlowFilter) (FlowSummary, error) {
	return FlowSummary{}, nil
}
func (s *Flows) Get(ctx context.Context, tenant, capture string, id uint64) (FlowDetail, error) {
	return FlowDetail{}, ErrNotFound
}
func (s *Flows) Facts(ctx context.Context, q FactQuery) (FactPage, error) { return FactPage{}, nil }
func (s *Flows) Export(ctx context.Context, x FlowExport) (FlowFile, error) {
	return FlowFile{}, ErrNotFound
}
