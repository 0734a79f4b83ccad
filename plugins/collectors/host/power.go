package host

import (
	"context"
	"path/filepath"

	"github.com/shirou/gopsutil/v4/common"
)

// readPower measures batteries and says which supplies give power. Those of a mouse or a headset are not the machine's.
func (c *Collector) readPower(_ context.Context, out *samples) error {
	left := maxParts
	for _, supply := range below(filepath.Join(c.dir(common.HostSysEnvKey, "/sys"), "class", "power_supply")) {
		if supply.text("scope") == "Device" || left <= 0 {
			continue
		}
		left--
		switch kind := supply.text("type"); kind {
		case "Battery", "UPS":
			out.battery(supply)
		default:
			if online, ok := supply.number("online", 1); ok {
				out.status(supply.base(), kind, "power_supply", "ok", online != 0)
			}
		}
	}
	return nil
}

// battery gives what the driver knows: some count energy (in Wh), others charge (in Ah), some neither.
func (s *samples) battery(f folder) {
	if present, ok := f.number("present", 1); ok && present == 0 {
		return
	}
	name := f.text("model_name")
	if name == "" {
		name = f.base()
	}
	labels := sensorLabels(f.base(), name, "")
	energy, energyFull, energyNew, watts := f.store("energy", "power_now")
	charge, chargeFull, chargeNew, amperes := f.store("charge", "current_now")
	if percent, ok := f.number("capacity", 100); ok {
		s.gauge("hw.battery.charge", "1", percent, labels...)
	} else if full := max(energyFull, chargeFull); full > 0 {
		s.gauge("hw.battery.charge", "1", max(energy, charge)/full, labels...)
	}
	state := f.text("status")
	if state != "" && state != "Unknown" {
		s.status(f.base(), name, "battery", "charging", state == "Charging")
		s.status(f.base(), name, "battery", "discharging", state == "Discharging")
	}
	if health := f.text("health"); health != "" && health != "Unknown" {
		s.status(f.base(), name, "battery", "ok", health == "Good")
	}
	if state == "Discharging" {
		draining := append(labels, label{"hw.battery.state", "discharging"})
		if seconds, ok := f.number("time_to_empty_now", 1); ok && seconds > 0 {
			s.gauge("hw.battery.time_left", "s", seconds, draining...)
		} else if watts > 0 && energyFull > 0 {
			s.gauge("hw.battery.time_left", "s", energy/watts*3600, draining...)
		} else if amperes > 0 && chargeFull > 0 {
			s.gauge("hw.battery.time_left", "s", charge/amperes*3600, draining...)
		}
	}
	switch {
	case energyFull > 0 && energyNew > 0:
		s.gauge("hw.battery.health", "1", energyFull/energyNew, labels...)
	case chargeFull > 0 && chargeNew > 0:
		s.gauge("hw.battery.health", "1", chargeFull/chargeNew, labels...)
	}
	if cycles, ok := f.number("cycle_count", 1); ok && cycles > 0 { // 0 is what drivers say that do not know
		s.counter("hw.battery.cycles", "{cycle}", cycles, labels...)
	}
	if volts, ok := f.number("voltage_now", 1e6); ok {
		s.gauge("hw.voltage", "V", volts, labels...)
	}
}

// store is what is left of a kind, what fits in, what fitted in when it was new, and how fast it goes; 0 is not known.
func (f folder) store(kind, pace string) (now, full, designed, speed float64) {
	now, _ = f.number(kind+"_now", 1e6)
	full, _ = f.number(kind+"_full", 1e6)
	designed, _ = f.number(kind+"_full_design", 1e6)
	speed, _ = f.number(pace, 1e6)
	return now, full, designed, max(speed, -speed) // some drivers count what goes out below zero
}
