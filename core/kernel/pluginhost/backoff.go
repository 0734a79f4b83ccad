package pluginhost

import "time"

// Backoffs says how long to wait before a start is tried again.
type Backoffs struct {
	// First is the wait after a single failure: short, because most crashes are single.
	First time.Duration
	// Base is the wait after the second failure; it doubles from there to Max.
	Base, Max time.Duration
}

// delay returns the wait after the given number of failures in a row. jitter is between 0 and 1 and spreads the
// wait over 75 to 125 per cent, so that instances that fell together do not come back together.
func (b Backoffs) delay(failures int, jitter float64) time.Duration {
	d := b.First
	if failures > 1 {
		d = b.Base
		for range failures - 2 {
			if d >= b.Max/2 {
				d = b.Max
				break
			}
			d *= 2
		}
	}
	return time.Duration(float64(d) * (0.75 + jitter/2))
}

// crashes remembers the crashes of one instance inside a sliding window.
type crashes struct {
	window time.Duration
	times  []time.Time
}

// add records a crash and returns how many lie in the window.
func (c *crashes) add(now time.Time) int {
	c.times = append(c.times, now)
	return c.within(now)
}

func (c *crashes) within(now time.Time) int {
	keep := 0
	for keep < len(c.times) && now.Sub(c.times[keep]) > c.window {
		keep++
	}
	c.times = c.times[keep:]
	return len(c.times)
}

func (c *crashes) forget() { c.times = nil }
