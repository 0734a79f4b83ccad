package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// jsonSample is a sample of Picket's own format.
type jsonSample struct {
	Metric string            `json:"metric"`
	Unit   string            `json:"unit"`
	Type   sdk.MetricType    `json:"type"`
	Help   string            `json:"help"`
	Labels map[string]string `json:"labels"`
	Time   *time.Time        `json:"time"`
	Value  *float64          `json:"value"`
}

// WeighJSON says how much memory a body may take when it is read.
func WeighJSON(body []byte) int64 {
	return int64(bytes.Count(body, []byte("{")))*400 + int64(bytes.Count(body, []byte(":")))*50
}

// ReadJSON reads {"samples": [...]}. A sample that is wrong does not keep the others from being taken; one without a time
// is of now.
func ReadJSON(body []byte, now time.Time) (*Batch, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	b := &Batch{}
	if err := expect(d, json.Delim('{')); err != nil {
		return nil, err
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, noJSON(err)
		}
		if name != "samples" {
			return nil, malformed("unknown field %q; a body has the form {\"samples\": [...]}", cut(fmt.Sprint(name), 60))
		}
		if err := expect(d, json.Delim('[')); err != nil {
			return nil, err
		}
		for i := 0; d.More(); i++ {
			if err := b.readJSON(d, i, now); err != nil {
				return nil, err
			}
		}
		if err := expect(d, json.Delim(']')); err != nil {
			return nil, err
		}
	}
	return b, expect(d, json.Delim('}'))
}

func (b *Batch) readJSON(d *json.Decoder, i int, now time.Time) error {
	s := jsonSample{Type: sdk.Gauge}
	err := d.Decode(&s)
	var wrongType *json.UnmarshalTypeError
	var wrongTime *time.ParseError
	switch {
	case errors.As(err, &wrongType):
		b.Refused.Add(Malformed, 1, "samples[%d].%s: must not be %s", i, wrongType.Field, wrongType.Value)
		return nil
	case errors.As(err, &wrongTime):
		b.Refused.Add(Malformed, 1, "samples[%d].time: must be a time as in RFC 3339", i)
		return nil
	case err != nil:
		return noJSON(err)
	case s.Value == nil:
		b.Refused.Add(Malformed, 1, "samples[%d].value: is missing", i)
		return nil
	}
	if s.Time == nil {
		s.Time = &now
	}
	if s.Help != "" {
		b.note(Note{Metric: s.Metric, Type: string(s.Type), Unit: s.Unit, Help: s.Help})
	}
	return b.add(sdk.Sample{Metric: s.Metric, Unit: s.Unit, Type: s.Type, Labels: s.Labels, Time: *s.Time, Value: *s.Value})
}

func expect(d *json.Decoder, want json.Delim) error {
	switch have, err := d.Token(); {
	case err != nil:
		return noJSON(err)
	case have != want:
		return malformed("a body has the form {\"samples\": [...]}; %v stands where %v should", cut(fmt.Sprint(have), 60), want)
	}
	return nil
}

func noJSON(err error) error { return malformed("no JSON: %v", err) }
