package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// factFrames are two frames for each kind of facts: with the texts of each row written out, as plugins write them, and with words
// that rows share, as Picket does.
func factFrames(root string) (map[string]frame, error) {
	out := map[string]frame{}
	for _, add := range []func(string, map[string]frame) error{
		addFacts[sdk.DNS], addFacts[sdk.TLS], addFacts[sdk.HTTP], addFacts[sdk.SMB], addFacts[sdk.DHCP], addFacts[sdk.ARP],
		addFacts[sdk.OT], addFacts[sdk.File], addFacts[sdk.Login], addFacts[sdk.Message], addFacts[sdk.Content],
	} {
		if err := add(root, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func addFacts[T records.Fact](root string, out map[string]frame) error {
	facts := make([]T, 3)
	fillFact(reflect.ValueOf(&facts[1]).Elem(), 1)
	fillFact(reflect.ValueOf(&facts[2]).Elem(), math.MaxUint64)
	bytes := records.AppendFacts(nil, facts)
	schema, names, err := factNames(root, records.SchemaOf(bytes))
	if err != nil {
		return err
	}
	v := vector{Schema: schema, Canonical: true}
	for i := range facts {
		row := map[string]any{}
		describeFact(row, reflect.ValueOf(facts[i]), names)
		v.Rows = append(v.Rows, row)
	}
	out["facts-"+schema] = frame{v, bytes}

	w := records.NewFactWriter[T]()
	for i := range facts {
		w.Add(&facts[i])
	}
	v.Canonical = false
	out["words-"+schema] = frame{v, w.Sealed()}
	return nil
}

// factNames reads the name of a schema and the names of its fields, those of its head among them.
func factNames(root string, id records.Schema) (schema string, names map[string]string, err error) {
	files, err := filepath.Glob(filepath.Join(root, "proto", "records", "*.json"))
	if err != nil {
		return "", nil, err
	}
	names = map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", nil, fmt.Errorf("read schema: %w", err)
		}
		var s struct {
			Schema string
			ID     records.Schema
			Fields []struct{ Name, Go string }
		}
		if err := json.Unmarshal(data, &s); err != nil {
			return "", nil, fmt.Errorf("read schema: %w", err)
		}
		if s.ID != id && s.Schema != "seen" {
			continue
		}
		if s.ID == id {
			schema = s.Schema
		}
		for _, f := range s.Fields {
			names[f.Go] = f.Name
		}
	}
	return schema, names, nil
}

// fillFact sets every field, its numbers to whole or to what of it there is room for.
func fillFact(v reflect.Value, whole uint64) {
	for i := range v.NumField() {
		field := v.Field(i)
		switch p := field.Addr().Interface().(type) {
		case *sdk.Seen:
			fillFact(field, whole)
		case *time.Time:
			*p = time.Unix(0, int64(whole>>1)).UTC()
		case *netip.Addr:
			*p = netip.AddrFrom4([4]byte{192, 0, 2, byte(whole)})
			if i%2 == 0 {
				*p = netip.MustParseAddr("2001:db8::8:800:200c:417a")
			}
		case *string:
			*p = fmt.Sprintf("%s ümläut €𝄞", v.Type().Field(i).Name)
		case *[]string:
			*p = []string{"first", "", "ümläut"}
		case *[]uint64:
			*p = []uint64{whole, 0}
		case *[]byte:
			*p = []byte{0, 255, byte(i)}
		case *map[string]string:
			*p = map[string]string{"": "empty", "ü": "", "name": "value"}
		default:
			switch {
			case field.CanUint():
				field.SetUint(whole >> (64 - field.Type().Bits()))
			case field.CanInt():
				field.SetInt(-int64(whole >> 1))
			case field.CanFloat():
				field.SetFloat(float64(whole) / 3)
			default:
				field.SetBool(whole > 1)
			}
		}
	}
}

func describeFact(row map[string]any, v reflect.Value, names map[string]string) {
	for i := range v.NumField() {
		if seen, ok := v.Field(i).Interface().(sdk.Seen); ok {
			describeFact(row, reflect.ValueOf(seen), names)
			continue
		}
		row[names[v.Type().Field(i).Name]] = value(v.Field(i).Interface())
	}
}
