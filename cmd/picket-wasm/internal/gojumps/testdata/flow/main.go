// Command flow goes through every kind of control flow that Go has and prints what it saw.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"regexp"
	"runtime"
	"slices"
	"sort"
	"strings"
	"time"
)

func main() {
	fmt.Println(primes(1000), collatz(27), matrix(7), labels(9), jumps(12), bits(0xdeadbeef))
	fmt.Println(walk([]float64{0.3, 0.9, 0.1, 0.7}, 6), search("the quick brown fox", "brown"), switches())
	fmt.Println(deferred(3), recovered(0), recovered(5), nilMap(), loopRecovered(20))
	fmt.Println(channels(50), selects(20), yields(30), closures(10))
	words := strings.Fields("so many words and so many ways to sort them")
	sort.Strings(words)
	m := map[string]int{}
	for i, w := range words {
		m[w] += i
	}
	text, err := json.Marshal(m)
	fmt.Println(string(text), err)
	var back map[string]int
	fmt.Println(json.Unmarshal(text, &back), len(back), regexp.MustCompile(`(\w+) (\w+)+`).FindAllString(strings.Join(words, " "), -1))
	f := big.NewInt(1)
	for i := range int64(60) {
		f.Mul(f, big.NewInt(i+1))
	}
	fmt.Println(f, time.Unix(1e9, 0).UTC().Format(time.RFC3339))
	var garbage [][]byte
	for i := range 2000 {
		garbage = append(garbage, make([]byte, 1<<10))
		if i%500 == 0 {
			runtime.GC()
			garbage = nil
		}
	}
	fmt.Fprintln(os.Stdout, len(garbage))
}

func primes(n int) (count int) {
outer:
	for i := 2; i < n; i++ {
		for j := 2; j*j <= i; j++ {
			if i%j == 0 {
				continue outer
			}
		}
		count++
	}
	return count
}

func collatz(n int) (steps int) {
	for n != 1 {
		if n%2 == 0 {
			n /= 2
		} else {
			n = 3*n + 1
		}
		steps++
	}
	return steps
}

func matrix(n int) (sum int) {
	for i := range n {
		for j := range n {
			for k := range n {
				if (i+j)%3 == k%3 {
					sum += i * j * k
				} else if k > 4 {
					break
				}
			}
		}
	}
	return sum
}

func labels(n int) (out []int) {
a:
	for i := 0; ; i++ {
	b:
		for j := 0; j < n; j++ {
			switch {
			case i*j > 40:
				break a
			case (i+j)%4 == 3:
				continue a
			case j > 5:
				break b
			}
			out = append(out, i*10+j)
		}
		if i > 20 {
			break
		}
	}
	return out
}

func jumps(n int) (out string) {
	i := 0
even:
	if i >= n {
		return out
	}
	out += "e"
	i++
	if i%5 == 0 {
		goto even
	}
	goto odd
odd:
	out += "o"
	i += 2
	if i%3 == 0 {
		goto odd
	}
	goto even
}

func bits(v uint32) (n int) {
	for ; v != 0; v &= v - 1 {
		n++
	}
	return n
}

func walk(row []float64, depth int) (path []int) {
	limits := [64]float64{}
	for i := range limits {
		limits[i] = float64(i%10) / 10
	}
	for t := range 5 {
		i := 1
		for d := 0; d < depth && i < 64; d++ {
			if row[(i+t)%len(row)] > limits[i] {
				i = 2*i + 1
			} else {
				i *= 2
			}
		}
		path = append(path, i)
	}
	return path
}

func search(s, sub string) int {
	for i := 0; i+len(sub) <= len(s); i++ {
		j := 0
		for j < len(sub) && s[i+j] == sub[j] {
			j++
		}
		if j == len(sub) {
			return i
		}
	}
	return -1
}

func switches() (out []string) {
	for _, v := range []any{1, "a", 2.5, nil, errors.New("e"), []int{1}, uint8(7)} {
		switch v := v.(type) {
		case int:
			out = append(out, fmt.Sprint("int", v))
			fallthroughs(v, &out)
		case string, float64:
			out = append(out, fmt.Sprint(v))
		case error:
			out = append(out, v.Error())
		case nil:
			out = append(out, "nil")
		default:
			out = append(out, fmt.Sprintf("%T", v))
		}
	}
	return out
}

func fallthroughs(v int, out *[]string) {
	switch v {
	case 1:
		*out = append(*out, "one")
		fallthrough
	case 2:
		*out = append(*out, "two")
	case 3:
		*out = append(*out, "three")
	}
}

func deferred(n int) (out []int) {
	defer func() { out = append(out, -1) }()
	for i := range n {
		defer func() { out = append(out, i) }()
	}
	return out
}

func recovered(i int) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint("recovered ", r)
		}
	}()
	list := []int{10, 11, 12}
	for k := range list {
		text += fmt.Sprint(list[i+k])
	}
	return text
}

func nilMap() (text string) {
	defer func() { text = fmt.Sprint(recover()) }()
	var m map[string]int
	m["a"] = 1
	return "none"
}

// loopRecovered panics and goes on within a loop.
func loopRecovered(n int) (sum int) {
	for i := range n {
		func() {
			defer func() {
				if recover() != nil {
					sum += 100
				}
			}()
			var p *struct{ v int }
			if i%3 == 0 {
				p = &struct{ v int }{i}
			}
			sum += p.v
		}()
	}
	return sum
}

func channels(n int) (sum int) {
	c, done := make(chan int), make(chan int)
	for w := range 3 {
		go func() {
			part := 0
			for v := range c {
				part += v * (w*0 + 1)
			}
			done <- part
		}()
	}
	for i := range n {
		c <- i
	}
	close(c)
	for range 3 {
		sum += <-done
	}
	return sum
}

func selects(n int) (sum int) {
	a, b, quit := make(chan int), make(chan int), make(chan bool)
	go func() {
		for i := range n {
			if i%2 == 0 {
				a <- i
			} else {
				b <- i
			}
		}
		close(quit)
	}()
	for {
		select {
		case v := <-a:
			sum += v
		case v := <-b:
			sum += 1000 * v
		case <-quit:
			return sum
		}
	}
}

// yields has calls in its loops after which another goroutine may run.
func yields(n int) (out []int) {
	counts := [2]int{}
	done := make(chan bool)
	for g := range counts {
		go func() {
			for i := range n {
				for j := range 3 {
					counts[g] += i * j
					runtime.Gosched()
				}
			}
			done <- true
		}()
	}
	<-done
	<-done
	return counts[:]
}

func closures(n int) int {
	var fs []func(int) int
	for i := range n {
		fs = append(fs, func(v int) int { return v*2 + i })
	}
	slices.Reverse(fs)
	v := 1
	for _, f := range fs {
		v = f(v) % 1_000_003
	}
	return v
}
