package dga

import "math/bits"

// What the model reads of a label: its pieces of one to three characters by their hash, and behind them some facts that pieces do
// not tell, each a number of its own. train/train.py says the same; a table of vectors keeps both alike.
const (
	longestPiece = 3
	buckets      = 1 << 14
	suffixes     = 256
)

// The rooms of the facts, one behind the other.
const (
	atLength = buckets
	atVowels = atLength + 32
	atDigits = atVowels + 17
	atRun    = atDigits + 17
	atTurns  = atRun + 16
	atKinds  = atTurns + 17
	atHyphen = atKinds + 17
	atSuffix = atHyphen + 4
	numRows  = atSuffix + suffixes
)

// Pieces appends what the model reads of a label below a suffix.
func Pieces(to []int64, label, suffix string) []int64 {
	var room [maxLabel + 2]byte
	text := room[:len(label)+2]
	text[0], text[len(text)-1] = '^', '$'
	copy(text[1:], label)
	for i := range text {
		h := uint32(offset)
		for _, c := range text[i:min(i+longestPiece, len(text))] {
			h = (h ^ uint32(c)) * prime
			to = append(to, int64(fold(h)%buckets))
		}
	}
	n := len(label)
	var vowels, digits, hyphens, run, longest, turns int
	var seen uint64
	last := none
	for i := range n {
		c := label[i]
		k := kindOf(c)
		switch k {
		case vowel:
			vowels++
		case digit:
			digits++
		case hyphen:
			hyphens++
		}
		if k == consonant {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
		if last != none && k != last {
			turns++
		}
		last = k
		seen |= 1 << (c % 39) // in which letters, digits and the hyphen all differ
	}
	return append(to,
		atLength+int64(min(n, 31)),
		atVowels+int64(vowels*16/n),
		atDigits+int64(digits*16/n),
		atRun+int64(min(longest, 15)),
		atTurns+int64(turns*16/n),
		atKinds+int64(bits.OnesCount64(seen)*16/n),
		atHyphen+int64(min(hyphens, 3)),
		atSuffix+int64(fold(hash(suffix))%suffixes))
}

// kind of a character.
type kind uint8

const (
	none kind = iota
	vowel
	consonant
	digit
	hyphen
)

func kindOf(c byte) kind {
	switch {
	case c == '-':
		return hyphen
	case c <= '9':
		return digit
	case c == 'a', c == 'e', c == 'i', c == 'o', c == 'u', c == 'y':
		return vowel
	}
	return consonant
}

// FNV-1a of 32 bits.
const (
	offset = 2166136261
	prime  = 16777619
)

func hash(text string) uint32 {
	h := uint32(offset)
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * prime
	}
	return h
}

func fold(h uint32) uint32 { return h ^ h>>15 }
