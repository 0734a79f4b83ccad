package probe

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxPage is what a plugin's own page may have at most.
const maxPage = 64 << 10

func readPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// The page is complete in itself: it names no host, loads nothing, and writes no HTML from what it is sent.
func TestThePageStandsAlone(t *testing.T) {
	page := readPage(t)
	if len(page) > maxPage {
		t.Errorf("%d bytes are more than %d", len(page), maxPage)
	}
	for _, url := range regexp.MustCompile(`[a-z]+://[^\s"'<]*`).FindAllString(page, -1) {
		if url != "http://www.w3.org/2000/svg" { // a name, not an address
			t.Errorf("it names %s", url)
		}
	}
	for _, word := range []string{"innerHTML", "outerHTML", "document.write", "insertAdjacentHTML", "eval(", "fetch(", "XMLHttpRequest", "WebSocket", "<link", "<img", "src=", "import("} {
		if strings.Contains(page, word) {
			t.Errorf("it has %s", word)
		}
	}
	if !strings.Contains(page, `default-src 'none'`) {
		t.Error("it does not forbid itself to load anything")
	}
}

// parent plays the frame around the page: outside a frame a page is its own parent.
const parent = `<script>addEventListener("message", e => { if (e.data.type === "picket.ready") postMessage(%DATA%, "*"); });</script>`

const data = `{type: "picket.data", theme: "dark", series: [
	{metric: "probe.up", unit: "1", labels: {"probe.target": "https://a.example/<b>x</b>"}, points: [[1000, 1], [2000, 1]]},
	{metric: "probe.duration", unit: "s", labels: {"probe.target": "https://a.example/<b>x</b>"}, points: [[1000, 0.02], [2000, 0.25], [3000, NaN], "x"]},
	{metric: "probe.tls.expires_in", unit: "d", labels: {"probe.target": "https://a.example/<b>x</b>"}, points: [[1000, 9.5]]},
	{metric: "probe.up", unit: "1", labels: {"probe.target": "tcp://192.0.2.1:22"}, points: [[1000, 0]]},
	{metric: "probe.up", labels: null}, null]}`

// The page draws what it is sent, in a real browser.
func TestThePageDraws(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium (Debian package chromium)")
	}
	file := filepath.Join(t.TempDir(), "page.html")
	page := strings.Replace(readPage(t), "<body>", "<body>"+strings.Replace(parent, "%DATA%", data, 1), 1)
	if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+t.TempDir(),
		"--virtual-time-budget=3000", "--dump-dom", "file://"+file)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := string(out)
	for _, want := range []string{
		`data-theme="dark"`, `<path class="curve" d="M`, "the slowest answer took 250 ms", "https://a.example/&lt;b&gt;x&lt;/b&gt;",
		">answers<", `<td class="bad">does not answer</td>`, `<td class="bad">9 days</td>`, `<th scope="row">`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(got, `aria-describedby="summary" hidden`) {
		t.Error("the chart stays hidden")
	}
	if strings.Contains(got, "a.example/<b>x</b></th>") {
		t.Error("a label became HTML")
	}
	if t.Failed() {
		t.Logf("%s", got)
	}
}
