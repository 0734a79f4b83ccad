//go:build linux

package main

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestGrowth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var minutes, flat, rising []float64
	for i := range 120 {
		at := float64(i) / 2
		minutes = append(minutes, at)
		noise := 1 + r.Float64()/20
		if i%17 == 0 {
			noise = 3 // a peak
		}
		if at < 10 {
			noise *= at / 10 // it warms up
		}
		flat = append(flat, 400*noise)
		rising = append(rising, 400*noise*(1+0.2*at/60))
	}
	if got := growth(minutes, flat); math.Abs(got) > 1 {
		t.Errorf("what stays grows by %.2f %% an hour", got)
	}
	if got := growth(minutes, rising); got < 15 || got > 20 {
		t.Errorf("what grows by a fifth of its start in an hour grows by %.2f %%", got)
	}
	if got := growth(minutes[:3], flat[:3]); got != 0 {
		t.Errorf("before it settled it grows by %.2f %%", got)
	}
	k := soak{Growth: map[string]float64{"goroutines": 0.9, "descriptors": -3}}
	if err := k.judge(); err != nil {
		t.Error(err)
	}
	k.Growth["resident memory"] = 1.1
	if k.judge() == nil {
		t.Error("growth of 1.1 % an hour passes")
	}
}
