package snmp

import (
	"cmp"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/snmp"
)

// system is what a device says of itself.
type system struct {
	description, name, contact, location string
	object                               snmp.OID
	services                             uint64
	baseMAC                              string // of the bridge or of LLDP's chassis
	capabilities                         byte   // of LLDP
	vendor, model, serial, firmware      string
	role                                 string
}

const (
	sysDescr       snmp.OID = "1.3.6.1.2.1.1.1.0"
	sysObjectID    snmp.OID = "1.3.6.1.2.1.1.2.0"
	sysContact     snmp.OID = "1.3.6.1.2.1.1.4.0"
	sysName        snmp.OID = "1.3.6.1.2.1.1.5.0"
	sysLocation    snmp.OID = "1.3.6.1.2.1.1.6.0"
	sysServices    snmp.OID = "1.3.6.1.2.1.1.7.0"
	bridgeAddress  snmp.OID = "1.3.6.1.2.1.17.1.1.0"
	chassisKind    snmp.OID = "1.0.8802.1.1.2.1.3.1.0"
	chassisID      snmp.OID = "1.0.8802.1.1.2.1.3.2.0"
	capabilities   snmp.OID = "1.0.8802.1.1.2.1.3.6.0"
	upsMaker       snmp.OID = "1.3.6.1.2.1.33.1.1.1.0"
	upsModel       snmp.OID = "1.3.6.1.2.1.33.1.1.2.0"
	printerSerial  snmp.OID = "1.3.6.1.2.1.43.5.1.1.17.1"
	printerChanges snmp.OID = "1.3.6.1.2.1.43.5.1.1.1.1"
	macChassis              = 4 // LldpChassisIdSubtype
)

func (r *reader) readSystem() error {
	have, err := r.client.Get(sysDescr, sysObjectID, sysContact, sysName, sysLocation, sysServices)
	if err != nil {
		return err
	}
	s := &r.system
	s.description, s.name, s.contact, s.location = have[sysDescr].Text(), have[sysName].Text(), have[sysContact].Text(), have[sysLocation].Text()
	s.object = have[sysObjectID].Object()
	s.services, _ = have[sysServices].Uint()
	more, err := r.client.Get(bridgeAddress, chassisKind, chassisID, capabilities, upsMaker, upsModel, printerSerial, printerChanges)
	if err != nil {
		return nil // what it said so far is worth telling
	}
	s.baseMAC = unicast(more[bridgeAddress].MAC())
	if kind, _ := more[chassisKind].Uint(); kind == macChassis {
		s.baseMAC = cmp.Or(unicast(more[chassisID].MAC()), s.baseMAC)
	}
	if b := more[capabilities].Bytes(); len(b) > 0 {
		s.capabilities = b[0]
	}
	s.vendor = cmp.Or(more[upsMaker].Text(), vendorOf(s.object))
	s.model, s.serial = more[upsModel].Text(), more[printerSerial].Text()
	switch {
	case !more[upsModel].IsZero():
		s.role = "ups"
	case !more[printerChanges].IsZero():
		s.role = "printer"
	default:
		s.role = s.roleOf()
	}
	return nil
}

// Bits of LldpSystemCapabilitiesMap, which count from the left, and of sysServices.
const (
	lldpBridge, lldpAccess, lldpRouter, lldpPhone = 1 << 5, 1 << 4, 1 << 3, 1 << 2
	servesLinks, servesNetworks, servesPeople     = 1 << 1, 1 << 2, 1 << 6
)

// roleOf says what the device is, the most telling first; "" when nothing says so.
func (s *system) roleOf() string {
	switch {
	case s.capabilities&lldpPhone != 0:
		return "phone"
	case s.capabilities&lldpAccess != 0:
		return "access-point"
	case s.capabilities&lldpBridge != 0:
		return "switch"
	case s.capabilities&lldpRouter != 0:
		return "router"
	case s.services&servesPeople != 0 || s.services == 0:
		return ""
	case s.services&servesLinks != 0:
		return "switch"
	case s.services&servesNetworks != 0:
		return "router"
	}
	return ""
}

const entPhysical = "1.3.6.1.2.1.47.1.1.1.1."

// readParts reads the chassis: who made it, its model and its number.
func (r *reader) readParts() error {
	const chassis, stack = 3, 11
	t, err := r.client.Walk(maxParts, entPhysical+"5", entPhysical+"11", entPhysical+"12", entPhysical+"13", entPhysical+"10", entPhysical+"9")
	var best snmp.Row
	for _, at := range t.Order {
		row := t.Rows[at]
		if class, _ := row[0].Uint(); class == chassis {
			best = row
			break
		} else if class == stack && best == nil {
			best = row
		}
	}
	if best == nil {
		return err
	}
	s := &r.system
	s.vendor = cmp.Or(best[2].Text(), s.vendor)
	s.model = cmp.Or(best[3].Text(), s.model)
	s.serial = cmp.Or(s.serial, best[1].Text())
	s.firmware = cmp.Or(best[4].Text(), best[5].Text())
	return err
}

// facts are what is told of the device.
func (s *system) facts() map[string]string {
	out := map[string]string{}
	for name, value := range map[string]string{
		"description": s.description, "name": s.name, "contact": s.contact, "location": s.location, "snmp_object": string(s.object),
		"vendor": s.vendor, "model": s.model, "serial": s.serial, "firmware": s.firmware, "role": s.role,
	} {
		if value = strings.TrimSpace(value); value != "" {
			out[name] = value
		}
	}
	return out
}
