package store

import (
	"context"
	"strings"
)

// word is the number of the name of a protocol or a tunnel.
func (r *FlowRecording) word(text string) uint16 {
	if text == "" {
		return 0
	}
	if id, ok := r.words[text]; ok {
		return id
	}
	if !wordly(text) || len(r.words) > maxWords {
		return 0
	}
	text = strings.Clone(text)
	id := r.flows.word(text, r.agent)
	if id != 0 {
		r.words[text] = id
	}
	return id
}

// wordly reports whether a text has the form of a protocol's name. What has another comes from an agent or a worker that
// somebody took over, and would be written into tables as it is.
func wordly(text string) bool {
	const longest, allowed = 32, "abcdefghijklmnopqrstuvwxyz0123456789-._"
	return len(text) <= longest && strings.Trim(text, allowed) == "" && text[0] != '-'
}

// keepWords keeps the words of the recording with one statement: each costs more than its rows.
func (r *FlowRecording) keepWords(ctx context.Context) error {
	if len(r.words) == 0 {
		return nil
	}
	var args []any
	for text, id := range r.words {
		args = append(args, id, text)
	}
	_, err := r.conn.ExecContext(ctx, "INSERT INTO "+r.seg.alias+".main.words VALUES (?, ?)"+strings.Repeat(", (?, ?)", len(r.words)-1), args...)
	return err
}
