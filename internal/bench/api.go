package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

var signIn = regexp.MustCompile(`(http://[0-9.:]+)/signin#token=([A-Za-z0-9_.-]+)`)

// reportAPI starts a server with one agent and its sample capture, and times sequential requests over loopback.
func reportAPI(ctx context.Context) error {
	server, err := filepath.Abs("bin/picketd")
	if err != nil {
		return err
	}
	if _, err := os.Stat(server); err != nil {
		return errNotBuilt
	}
	data, err := os.MkdirTemp("", "picket-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	cmd := exec.CommandContext(ctx, server, "--dev", "--data", data, "--listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		_ = cmd.Wait()
	}()
	base, token, err := awaitLink(out)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()

	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	resp, err := client.Post(base+"/api/v1/signin", "application/json", bytes.NewBufferString(`{"token":"`+token+`"}`))
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	time.Sleep(20 * time.Second) // let the agent enrol, the collector report and the capture be analysed

	fmt.Println("API and page  (one agent at work, 300 sequential requests each over loopback)")
	from := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for _, path := range []string{
		"/", "/healthz", "/api/v1/overview", "/api/v1/plugins", "/api/v1/alerts",
		"/api/v1/series?metric=system.cpu.utilization&step=5s&from=" + from,
	} {
		p50, p95, err := times(client, base+path, 300)
		if err != nil {
			return err
		}
		name, _, _ := strings.Cut(path, "?")
		fmt.Printf("  %-62s p50 %6.2f ms   p95 %6.2f ms\n", "GET "+name, p50, p95)
	}
	return nil
}

func awaitLink(out io.Reader) (base, token string, err error) {
	for s := bufio.NewScanner(out); s.Scan(); {
		if m := signIn.FindStringSubmatch(s.Text()); m != nil {
			return m[1], m[2], nil
		}
	}
	return "", "", fmt.Errorf("picketd ended before it printed a sign-in link")
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
