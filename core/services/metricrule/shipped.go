package metricrule

import (
	"context"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
)

// disks are file systems that can be written to and whose space is their own.
const disks = `system_filesystem_mode="rw",system_filesystem_type!~"tmpfs|devtmpfs|overlay|ramfs|squashfs|iso9660"`

// Shipped are the rules that every server has. They say nothing of what nobody measures.
func Shipped() []store.MetricRule {
	rules := []store.MetricRule{
		{Name: "host-silent", Title: "A machine is silent", Severity: sdk.SeverityHigh, Every: 10,
			Expr:    `picket_agent_silence_seconds > 120`,
			Summary: "{host} has not been heard for {value} s"},
		{Name: "disk-full", Title: "A disk is full", Severity: sdk.SeverityHigh, Every: 10, Keep: minute,
			Expr:    `system_filesystem_utilization_ratio{system_filesystem_state="used",` + disks + `} > 0.95`,
			Stays:   `system_filesystem_utilization_ratio{system_filesystem_state="used",` + disks + `} > 0.92`,
			Summary: "{agent_name}: {system_filesystem_mountpoint} is {value%} full"},
		{Name: "disk-fills", Title: "A disk will be full within 4 hours", Severity: sdk.SeverityMedium, Every: 2 * minute, For: 10 * minute, Keep: 10 * minute,
			Expr: `predict_linear(system_filesystem_usage_bytes{system_filesystem_state="free",` + disks + `}[1h], 14400) < 0` +
				` and on (agent_id, system_device, system_filesystem_mountpoint) system_filesystem_utilization_ratio{system_filesystem_state="used",` + disks + `} > 0.5`,
			Summary: "{agent_name}: at the pace of the last hour {system_filesystem_mountpoint} is full within 4 hours"},
		{Name: "memory", Title: "Memory is nearly used up", Severity: sdk.SeverityMedium, Every: 30, For: 5 * minute, Keep: 2 * minute,
			Expr:    `1 - system_memory_linux_available_bytes / system_memory_limit_bytes > 0.95`,
			Stays:   `1 - system_memory_linux_available_bytes / system_memory_limit_bytes > 0.9`,
			Summary: "{agent_name}: {value%} of the memory is in use"},
		{Name: "load", Title: "A machine has more to do than it can", Severity: sdk.SeverityLow, Every: 30, For: 10 * minute, Keep: 5 * minute,
			Expr:    `system_cpu_load_average_5m / system_cpu_logical_count > 2`,
			Stays:   `system_cpu_load_average_5m / system_cpu_logical_count > 1.5`,
			Summary: "{agent_name}: {value} programs want each processor"},
		{Name: "certificate", Title: "A certificate ends within 14 days", Severity: sdk.SeverityMedium, Every: 10 * minute,
			Expr:    `tls_certificate_remaining_seconds / 86400 < 14`,
			Summary: "the certificate of {server_address} ends in {value} days"},
		{Name: "service-down", Title: "A service has failed", Severity: sdk.SeverityHigh, Every: 15, Keep: 30,
			Expr:    `systemd_unit_state{systemd_unit_active_state="failed"} == 1`,
			Summary: "{agent_name}: {systemd_unit_name} has failed"},
		{Name: "process-gone", Title: "A watched program is gone", Severity: sdk.SeverityHigh, Every: 15, For: 30,
			Expr:    `process_watched_count < 1`,
			Summary: "{agent_name}: {process_executable_name} does not run"},
		{Name: "clock-skew", Title: "A clock is wrong", Severity: sdk.SeverityMedium, Every: minute, For: 5 * minute, Keep: 5 * minute,
			Expr:    `abs(picket_agent_clock_skew_seconds) > 30`,
			Summary: "{host}: the clock is {value} s away from the server's"},
		{Name: "battery", Title: "A battery is nearly empty", Severity: sdk.SeverityMedium, Every: 30, Keep: minute,
			Expr:    `hw_battery_charge_ratio < 0.2 unless on (agent_id, hw_id) hw_status{hw_state="charging"} == 1`,
			Stays:   `hw_battery_charge_ratio < 0.25 unless on (agent_id, hw_id) hw_status{hw_state="charging"} == 1`,
			Summary: "{agent_name}: the battery is at {value%}"},
		{Name: "ingest-lag", Title: "The server is behind with what it is sent", Severity: sdk.SeverityHigh, Every: 30, For: 2 * minute, Keep: 2 * minute,
			Expr:    `picket_ingest_queue > 100000`,
			Stays:   `picket_ingest_queue > 20000`,
			Summary: "{value} samples wait to be written"},
	}
	for i := range rules {
		rules[i].Enabled, rules[i].Ships, rules[i].NoData = true, true, store.NoDataEnds
	}
	return rules
}

// Rules are a tenant's: those that ship, as they were changed, and its own, by name.
func (s *Service) Rules(ctx context.Context, tenant string) ([]store.MetricRule, error) {
	rules, err := s.cfg.Store.MetricRules(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for _, shipped := range Shipped() {
		if i := slices.IndexFunc(rules, func(r store.MetricRule) bool { return r.Name == shipped.Name }); i >= 0 {
			rules[i].Ships = true
			continue
		}
		shipped.Tenant = tenant
		rules = append(rules, shipped)
	}
	slices.SortFunc(rules, func(a, b store.MetricRule) int { return strings.Compare(a.Name, b.Name) })
	return rules, nil
}
