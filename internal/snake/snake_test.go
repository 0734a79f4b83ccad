package snake

import "testing"

func TestCase(t *testing.T) {
	for name, want := range map[string]string{
		"ServerName": "server_name", "EDNSSize": "edns_size", "ALPNs": "alpns", "JA3S": "ja3s", "ID": "id", "AnswerTTLs": "answer_ttls",
		"MACToServer": "mac_to_server", "SHA256": "sha256", "CallID": "call_id", "": "", "X": "x", "QType": "qtype", "RCode": "rcode", "KeepAlive": "keep_alive",
	} {
		if have := Case(name); have != want {
			t.Errorf("%s is %s, want %s", name, have, want)
		}
	}
}
