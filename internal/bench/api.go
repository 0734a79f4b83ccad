package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// reportAPI starts a server with one agent and its sample capture, and times sequential requests over loopback.
func reportAPI(ctx context.Context) error {
	s, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	time.Sleep(20 * time.Second) // let the agent enrol, the collector report and the capture be analysed

	fmt.Println("API and page  (one agent at work, 300 sequential requests each over loopback)")
	from := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for _, path := range []string{
		"/", "/healthz", "/api/v1/overview", "/api/v1/plugins", "/api/v1/alerts",
		"/api/v1/series?metric=system.cpu.utilization&step=5s&from=" + from,
	} {
		p50, p95, err := times(s.Client, s.base+path, 300)
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(path, "?")
		fmt.Printf("  %-62s p50 %6.2f ms   p95 %6.2f ms\n", "GET "+name, p50, p95)
	}
	return nil
}

func times(client *http.Client, url string, n int) (p50, p95 float64, err error) {
	var ms []float64
	for range n {
		began := time.Now()
		resp, err := client.Get(url)
		if err != nil {
			return 0, 0, err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return 0, 0, fmt.Errorf("%s answered %s", url, resp.Status)
		}
		ms = append(ms, float64(time.Since(began).Microseconds())/1000)
	}
	slices.Sort(ms)
	return ms[n/2], ms[n*95/100], nil
}
