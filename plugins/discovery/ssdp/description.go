package ssdp

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Limits on what devices can make it read.
const (
	maxDescriptions = 1024
	maxOfOne        = 8         // devices behind one address: each is asked in its turn, and others wait
	maxDescription  = 256 << 10 // bytes
	maxDepth        = 32        // elements in one another
	maxTextLength   = 256
	maxServices     = 16
	readTime        = 3 * time.Second
)

// descriptions are where descriptions lie, with the device that says so.
type descriptions map[string]netip.Addr

// learn keeps locations at the very address that told them: a device must not send this machine to others.
func (d descriptions) learn(b *sdk.Batch) {
	for i := range b.Messages {
		m := &b.Messages[i]
		if m.Protocol != "ssdp" || !m.Response || len(d) >= maxDescriptions {
			continue
		}
		u, err := url.Parse(m.Fields["location"])
		if err != nil || u.Scheme != "http" || u.User != nil {
			continue
		}
		if at, err := netip.ParseAddr(u.Hostname()); err == nil && at == m.Server.Unmap() {
			ofOne := 0
			for _, other := range d {
				if other == at {
					ofOne++
				}
			}
			if ofOne < maxOfOne {
				d[u.String()] = at
			}
		}
	}
}

// read reads all descriptions. A device without one, or with a broken one, is no error: it has been told of already.
func (d *Discoverer) read(ctx context.Context, found descriptions, sink sdk.SightingSink) error {
	for location, at := range found {
		about, err := d.describe(ctx, location)
		if sdk.ClassOf(err) == sdk.PermissionDenied || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if err != nil {
			continue
		}
		if err := sink.Sighting(sdk.Sighting{Time: d.host.Now(), IP: at, Facts: about.facts(), Source: "upnp", Confidence: claimed}); err != nil {
			return err
		}
	}
	return nil
}

// claimed is the confidence in what a device says of itself.
const claimed = 0.85

func (d *Discoverer) describe(ctx context.Context, location string) (device, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	client := *d.host.HTTP()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return device{}, err
	}
	res, err := client.Do(req)
	if err != nil {
		return device{}, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return device{}, sdk.Errorf(sdk.Downstream, "%s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxDescription+1))
	if err == nil && len(b) > maxDescription {
		err = sdk.Errorf(sdk.Downstream, "a description longer than %d bytes", maxDescription)
	}
	if err != nil {
		return device{}, err
	}
	return parse(b)
}

// device is what a description says of the outermost device.
type device struct {
	kind, name, maker, model, number, serial, page string
	services                                       []string
}

// parse reads a description. Of XML it wants elements and text: one that declares anything is refused, and nothing is ever
// looked up or expanded.
func parse(b []byte) (d device, err error) {
	fields := map[string]*string{
		"deviceType": &d.kind, "friendlyName": &d.name, "manufacturer": &d.maker, "modelName": &d.model, "modelNumber": &d.number,
		"serialNumber": &d.serial, "presentationURL": &d.page,
	}
	r := xml.NewDecoder(bytes.NewReader(b))
	r.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errors.New("only UTF-8 is read") }
	var path []string
	devices := 0 // entered so far; those within the first are parts of it
	for {
		token, err := r.Token()
		if errors.Is(err, io.EOF) {
			if devices == 0 {
				return d, errors.New("it describes no device")
			}
			return d, nil
		}
		if err != nil {
			return device{}, err
		}
		switch t := token.(type) {
		case xml.Directive:
			return device{}, errors.New("a description with declarations")
		case xml.StartElement:
			if path = append(path, t.Name.Local); len(path) > maxDepth {
				return device{}, errors.New("elements too deep in one another")
			}
			if t.Name.Local == "device" {
				devices++
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if devices == 0 {
				continue
			}
			value := clean(string(t))
			last := path[len(path)-1:]
			switch {
			case len(last) == 0 || value == "":
			case last[0] == "serviceType":
				if name := part(value, ":service:"); name != "" && len(d.services) < maxServices && !slices.Contains(d.services, name) {
					d.services = append(d.services, name)
				}
			case devices == 1 && len(path) > 1 && path[len(path)-2] == "device" && fields[last[0]] != nil:
				*fields[last[0]] = value
			}
		}
	}
}

// part is the word behind a mark in the name of a kind, as MediaServer in "urn:schemas-upnp-org:device:MediaServer:1".
func part(urn, mark string) string {
	_, rest, _ := strings.Cut(urn, mark)
	word, _, _ := strings.Cut(rest, ":")
	return word
}

// clean is a text in one line, cut to what is kept.
func clean(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
	return strings.ToValidUTF8(s[:min(len(s), maxTextLength)], "")
}

// roles are the kinds of device that tell what it is.
var roles = map[string]string{
	"InternetGatewayDevice": "gateway", "Printer": "printer", "DigitalSecurityCamera": "camera", "WLANAccessPointDevice": "access-point",
}

func (d device) facts() map[string]string {
	kind := part(d.kind, ":device:")
	slices.Sort(d.services)
	out := map[string]string{
		"name": d.name, "vendor": d.maker, "model": d.model, "product": d.number, "serial": d.serial, "upnp_device": kind,
		"upnp_services": clean(strings.Join(d.services, " ")), "upnp_page": d.page, "role": roles[kind],
	}
	for name, value := range out {
		if value == "" {
			delete(out, name)
		}
	}
	return out
}
