//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	soakEvery   = 30 * time.Second
	soakSettles = 10 * time.Minute // caches fill and pools reach their size
	soakGrowth  = 1.0              // per cent an hour, what is noise and no leak
)

// watched is what the server says of itself and must not grow while the load is the same.
var watched = map[string]string{
	"resident memory": "process_resident_memory_bytes",
	"goroutines":      "go_goroutines",
	"descriptors":     "process_open_fds",
}

// soak is what the server said of itself, over time.
type soak struct {
	Minutes []float64            `json:"minutes"`
	Seen    map[string][]float64 `json:"seen"` // by the metric's name
	Growth  map[string]float64   `json:"growth_percent_per_hour"`
}

// watch asks the server every half minute until ctx ends, then says how what is watched has grown since it settled.
func watch(ctx context.Context, s *server) (*soak, error) {
	k := &soak{Seen: map[string][]float64{}, Growth: map[string]float64{}}
	began := time.Now()
	for sleep(ctx, soakEvery) {
		says, err := s.ownMetrics(ctx)
		if err != nil {
			if ctx.Err() != nil {
				break
			}
			return nil, err
		}
		k.Minutes = append(k.Minutes, time.Since(began).Minutes())
		for name, value := range says {
			k.Seen[name] = append(k.Seen[name], value)
		}
	}
	for name, metric := range watched {
		k.Growth[name] = growth(k.Minutes, k.Seen[metric])
	}
	return k, nil
}

// growth is in per cent an hour: the median of the slopes between all pairs of what was seen after it settled, so that no single
// peak decides.
func growth(minutes, seen []float64) float64 {
	settled, _ := slices.BinarySearch(minutes, soakSettles.Minutes())
	minutes, seen = minutes[settled:], seen[settled:]
	var slopes []float64
	for i := range seen {
		for j := i + 1; j < len(seen); j++ {
			slopes = append(slopes, (seen[j]-seen[i])/(minutes[j]-minutes[i])*60)
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return 100 * median(slopes) / median(slices.Clone(seen))
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// judge says what grew by more than noise does.
func (k *soak) judge() error {
	for name, percent := range k.Growth {
		if percent > soakGrowth {
			return fmt.Errorf("%s grew by %.2f %% an hour, more than %.0f", name, percent, soakGrowth)
		}
	}
	return nil
}

func (k *soak) print(w io.Writer) {
	for _, name := range slices.Sorted(maps.Keys(watched)) {
		metric := watched[name]
		seen := k.Seen[metric]
		if len(seen) == 0 {
			continue
		}
		fmt.Fprintf(w, "  %-32s%10.2f %% an hour; median %.6g, least %.6g, most %.6g\n", name, k.Growth[name], median(slices.Clone(seen)), slices.Min(seen), slices.Max(seen))
	}
}

// ownMetrics are those without labels, as the server gives them to a scraper.
func (s *server) ownMetrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.address+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /metrics: %s", resp.Status)
	}
	says := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		if strings.ContainsAny(name, "#{") {
			continue
		}
		if says[name], err = strconv.ParseFloat(number, 64); err != nil {
			return nil, err
		}
	}
	return says, lines.Err()
}
