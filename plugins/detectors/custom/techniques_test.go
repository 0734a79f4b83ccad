package custom

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const techniquesHead = `# Made by TestTechniquesAreFresh of core/services/incident/attack_table.go.
# © 2025 The MITRE Corporation. This work is reproduced and distributed with the permission of The MITRE Corporation
# (ATT&CK terms of use, https://attack.mitre.org/resources/legal-and-branding/terms-of-use/).
`

// Rules may name the techniques that the server knows. PICKET_UPDATE=1 writes their list.
func TestTechniquesAreFresh(t *testing.T) {
	table, err := os.ReadFile("../../../core/services/incident/attack_table.go")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, m := range regexp.MustCompile("(?m)^(?:const techniqueTable = `)?(T\\d{4}(?:\\.\\d{3})?) TA").FindAllStringSubmatch(string(table), -1) {
		ids = append(ids, m[1])
	}
	if len(ids) < 500 {
		t.Fatalf("%d techniques are too few", len(ids))
	}
	want := techniquesHead + strings.Join(ids, "\n") + "\n"
	if os.Getenv("PICKET_UPDATE") != "" {
		if err := os.WriteFile("techniques.txt", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if techniqueList != want && os.Getenv("PICKET_UPDATE") == "" {
		t.Error("techniques.txt is not what the server's table says: run PICKET_UPDATE=1 go test")
	}
	for id, want := range map[string]bool{"T1046": true, "T1110.001": true, "T0846": true, "T9999": false, "": false, "#": false} {
		if knownTechnique(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
}
