package incident

import (
	"slices"
	"strings"
	"sync"
)

// killChain are the tactics in the order of the ATT&CK matrices, the industrial ones beside their namesakes.
var killChain = []string{"TA0043", "TA0042", "TA0001", "TA0108", "TA0002", "TA0104", "TA0003", "TA0110", "TA0004", "TA0111", "TA0005", "TA0103",
	"TA0006", "TA0007", "TA0102", "TA0008", "TA0109", "TA0009", "TA0100", "TA0011", "TA0101", "TA0010", "TA0107", "TA0106", "TA0040", "TA0105"}

type technique struct {
	name    string
	tactics []string // in the order of the kill chain
}

var techniques = sync.OnceValue(func() map[string]technique {
	table := map[string]technique{}
	for line := range strings.Lines(techniqueTable) {
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		tactics, name, _ := strings.Cut(rest, " ")
		t := technique{name: name, tactics: strings.Split(tactics, ",")}
		slices.SortFunc(t.tactics, func(a, b string) int { return slices.Index(killChain, a) - slices.Index(killChain, b) })
		table[id] = t
	}
	return table
})

// tacticsOf are the tactics of a technique; none when ATT&CK does not know it.
func tacticsOf(id string) []string { return techniques()[id].tactics }

// stageOf is the tactic that a technique counts for: its first in the kill chain.
func stageOf(id string) string {
	if t := tacticsOf(id); len(t) > 0 {
		return t[0]
	}
	return ""
}

// leading are the tactics that may put a target into the attacker's hands.
var leading = []string{"TA0001", "TA0108", "TA0002", "TA0104", "TA0003", "TA0110", "TA0008", "TA0109"}

// leadsOn reports whether the target of a technique may be where the attack goes on from. Looking, flooding and calling
// home leave a target as it was; of the ways to credentials only guessing them opens the target itself.
func leadsOn(id string) bool {
	return guesses(id) || slices.ContainsFunc(tacticsOf(id), func(t string) bool { return slices.Contains(leading, t) })
}

// guesses reports whether a technique guesses passwords.
func guesses(id string) bool { return parent(id) == "T1110" }

func parent(id string) string {
	base, _, _ := strings.Cut(id, ".")
	return base
}

// deeds say what a technique comes to; those that are not here are told by their tactic.
var deeds = map[string]string{
	"T1046": "looked for open services", "T1595": "scanned", "T1018": "looked for hosts", "T0846": "looked for hosts",
	"T0888": "looked for controllers", "T1110": "guessed passwords", "T1021": "used remote services", "T1569": "ran a program",
	"T1047": "ran a program", "T1053": "planned a task", "T1543": "installed a service", "T1570": "copied tools",
	"T1003": "took credentials", "T1558": "asked for tickets to crack", "T1557": "put itself between hosts", "T1071": "called home",
	"T1095": "called home", "T1568": "called home by changing names", "T1572": "tunnelled", "T1048": "sent data out", "T1041": "sent data out",
	"T1486": "encrypted files", "T1498": "flooded", "T1499": "flooded", "T0814": "flooded", "T0855": "sent commands it may not send",
	"T0836": "changed parameters", "T0858": "changed an operating mode", "T0843": "loaded a program", "T0845": "read a program",
	"T0816": "restarted a device",
}

var tacticDeeds = map[string]string{
	"Reconnaissance": "looked around", "Resource Development": "made ready", "Initial Access": "broke in", "Execution": "ran a program",
	"Persistence": "settled in", "Privilege Escalation": "gained rights", "Defense Evasion": "hid its traces", "Evasion": "hid its traces",
	"Credential Access": "took credentials", "Discovery": "looked around", "Lateral Movement": "moved on", "Collection": "gathered data",
	"Command and Control": "called home", "Exfiltration": "sent data out", "Impact": "did damage",
	"Inhibit Response Function": "blocked what protects", "Impair Process Control": "interfered with a process",
}

// deed says in words what a technique comes to, "" when ATT&CK does not know it.
func deed(id string) string {
	if d := deeds[parent(id)]; d != "" {
		return d
	}
	return tacticDeeds[tacticNames[stageOf(id)]]
}
