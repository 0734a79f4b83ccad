package store

import (
	"cmp"
	"reflect"
	"time"

	"github.com/picketwatch/picket/internal/snake"
	"github.com/picketwatch/picket/sdk"
)

// told is a fact with what every fact has.
type told struct {
	seen  *sdk.Seen
	name  string // that it is found by
	named bool   // the name is one that a list shows for the flow
	value any
}

// toldBy returns each fact of a batch.
func toldBy(b *sdk.Batch, yield func(told) error) error {
	return cmp.Or(
		each(b.DNS, yield, func(x *sdk.DNS) told { return told{&x.Seen, x.Query, true, x} }),
		each(b.TLS, yield, func(x *sdk.TLS) told { return told{&x.Seen, cmp.Or(x.ServerName, first(x.Names)), true, x} }),
		each(b.HTTP, yield, func(x *sdk.HTTP) told { return told{&x.Seen, x.Host, true, x} }),
		each(b.SMB, yield, func(x *sdk.SMB) told { return told{&x.Seen, cmp.Or(x.File, x.Share, x.Host), false, x} }),
		each(b.DHCP, yield, func(x *sdk.DHCP) told { return told{&x.Seen, cmp.Or(x.FQDN, x.Hostname), false, x} }),
		each(b.ARP, yield, func(x *sdk.ARP) told { return told{&x.Seen, "", false, x} }),
		each(b.OT, yield, func(x *sdk.OT) told { return told{&x.Seen, x.Object, false, x} }),
		each(b.Files, yield, func(x *sdk.File) told { return told{&x.Seen, x.Name, false, x} }),
		each(b.Logins, yield, func(x *sdk.Login) told { return told{&x.Seen, x.User, false, x} }),
		each(b.Messages, yield, func(x *sdk.Message) told { return told{&x.Seen, x.Text, false, x} }))
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func each[T any](list []T, yield func(told) error, of func(*T) told) error {
	for i := range list {
		if err := yield(of(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

func (r *FlowRecording) addFacts(batch *sdk.Batch, block uint32, kind uint8) error {
	at := uint16(0)
	return toldBy(batch, func(t told) error {
		name, err := r.name(t.name)
		if err != nil {
			return err
		}
		s := t.seen
		if err := r.call(s.Flow, name, t.named); err != nil {
			return err
		}
		c := r.cells[:12]
		c[0], c[1], c[2], c[3], c[4] = r.run.id, r.run.facts, kind, s.Flow, time.UnixMicro(micros(s.Time))
		c[5], c[6] = halves(s.Client)
		c[7], c[8] = halves(s.Server)
		c[9], c[10], c[11] = name, block, at
		r.run.facts++
		at++
		return r.facts.AppendRow(c...)
	})
}

// call gives a flow a name. The first that can be shown goes into its row, the others beside it, where only a search looks.
func (r *FlowRecording) call(flow, name uint64, shown bool) error {
	if flow == 0 || name == 0 {
		return nil
	}
	before, open := r.pending[flow]
	if before == name {
		return nil
	}
	if shown && !open && len(r.pending) < maxPending {
		r.pending[flow] = name
		return nil
	}
	return r.called.AppendRow(r.run.id, flow, name)
}

// FactFields are the fields of a fact by name, without those that all facts have and those that are empty.
func FactFields(fact any) map[string]any {
	out := map[string]any{}
	v := reflect.Indirect(reflect.ValueOf(fact))
	if v.Kind() != reflect.Struct {
		return out
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous || v.Field(i).IsZero() {
			continue
		}
		out[snake.Case(f.Name)] = v.Field(i).Interface()
	}
	return out
}
