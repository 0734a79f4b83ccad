package webattack

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Signs: what was tried, and what became of it.
const (
	sql uint32 = 1 << iota
	xss
	traversal
	command
	jndi
	shellshock
	webshell
	scanner

	accepted uint32 = 1 << 28 // an answer says that all was well
	refused  uint32 = 1 << 29
	failed   uint32 = 1 << 30 // the server could not go on
	scan     uint32 = 1 << 31

	answers = accepted | refused | failed
)

func answered(status uint16) uint32 {
	switch {
	case status >= 200 && status < 300:
		return accepted
	case status >= 500:
		return failed
	case status >= 300:
		return refused
	}
	return 0
}

// exchange is what is tried in a request.
func (d *Detector) exchange(r *sdk.HTTP) (signs uint32) {
	if !plain(r.Target) {
		d.text = normal(d.text, r.Target)
		signs = ofTarget(d.text)
	}
	for _, header := range r.RequestHeaders {
		signs |= d.header(header)
	}
	return signs
}

// header is what is tried in a field. Every browser says things in brackets in its name, so of the rest only few are looked for.
func (d *Detector) header(header string) (signs uint32) {
	name, value, _ := strings.Cut(header, ":")
	agent := strings.EqualFold(name, "user-agent")
	if agent && isScanner(value) {
		signs = scanner
	}
	if strings.Contains(value, "() {") || strings.Contains(value, "(){") {
		signs |= shellshock
	}
	if strings.Contains(value, "${") || strings.Contains(value, "%24%7") {
		d.text = normal(d.text, value)
		signs |= lookup(d.text)
	}
	if agent || strings.EqualFold(name, "referer") || strings.EqualFold(name, "cookie") || strings.EqualFold(name, "x-forwarded-for") {
		if strings.ContainsAny(value, "'<") && len(value) < maxText {
			d.text = normal(d.text, value)
			signs |= ofSQL(d.text) | ofXSS(d.text)
		}
	}
	return signs
}

// body is what is tried in the first bytes of what is sent.
func (d *Detector) body(begin []byte) uint32 {
	if plain(begin) {
		return 0
	}
	d.text = normal(d.text, begin)
	return ofSQL(d.text) | lookup(d.text) | ofCommand(d.text)
}

func ofTarget(b []byte) uint32 {
	return ofSQL(b) | ofXSS(b) | ofTraversal(b) | ofCommand(b) | lookup(b) | ofShell(b)
}

func has(b []byte, text string) bool { return bytes.Contains(b, []byte(text)) }

func hasAny(b []byte, list []string) bool {
	for _, text := range list {
		if has(b, text) {
			return true
		}
	}
	return false
}

var scanners = [...]string{"sqlmap", "nikto", "acunetix", "nessus", "wpscan", "dirbuster", "gobuster", "feroxbuster", "nuclei", "masscan", "zgrab", "w3af", "havij", "openvas", "arachni", "commix", "wfuzz", "fuzz faster"}

func isScanner(agent string) bool {
	var room [256]byte
	low := room[:0]
	for i := range min(len(agent), len(room)) {
		c := agent[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		low = append(low, c)
	}
	for _, name := range scanners {
		if bytes.Contains(low, []byte(name)) {
			return true
		}
	}
	return false
}

// What nobody writes into an address but who injects it.
var (
	sqlWords = []string{
		"information_schema.", "waitfor delay", "pg_sleep(", "benchmark(", "extractvalue(", "updatexml(", "xp_cmdshell", "load_file(", "into outfile", "into dumpfile",
		"; drop table", ";drop table", "'; exec ", "';exec ", "group_concat(", "utl_inaddr.", "sqlite_master",
	}
	codeWords = []string{
		"/bin/sh", "/bin/bash", "cmd.exe", "${ifs}", "$ifs", "shell_exec(", "passthru(", "system(", "popen(", "proc_open(", "base64_decode(", "phpinfo(", "eval(", "assert(",
		"call_user_func_array", "getruntime(", "java.lang.runtime", "processbuilder", "class.module.classloader", "#_memberaccess", "ognl.", "allow_url_include", "auto_prepend_file",
		"__import__(", "os.popen", "child_process", "cd /tmp", "chmod 777", "chmod +x", "|sh", "| sh",
	}
	fileWords = []string{
		"/etc/passwd", "/etc/shadow", "/etc/hosts", "/proc/self/", "/windows/win.ini", "win.ini", "boot.ini", "/windows/system32", "/winnt/system32", "web-inf/web.xml", "php://filter", "php://input",
		"file:///", "expect://", "data://text", "/.ssh/id_rsa",
	}
	scriptWords = []string{"document.cookie", "javascript:alert(", "javascript:eval(", "javascript:prompt(", "javascript:confirm(", "string.fromcharcode(", "document.write("}
	tags        = []string{"<script", "</script", "<svg", "<iframe", "<object", "<embed"}
)

func ofSQL(b []byte) uint32 {
	if hasAny(b, sqlWords) || union(b) || tautology(b) || sleeps(b) || commented(b) {
		return sql
	}
	return 0
}

// union finds union select, with all or distinct between.
func union(b []byte) bool {
	for rest := b; ; {
		_, after, found := bytes.Cut(rest, []byte("union"))
		if !found {
			return false
		}
		rest = after
		next := bytes.TrimLeft(after, " (\n")
		if len(next) == len(after) {
			continue
		}
		for _, word := range [...]string{"all", "distinct"} {
			next = bytes.TrimLeft(bytes.TrimPrefix(next, []byte(word)), " (\n")
		}
		if columns, is := bytes.CutPrefix(next, []byte("select")); is && selects(columns) {
			return true
		}
	}
}

// selects reports whether what follows on select is a part of a query and not of a sentence.
func selects(b []byte) bool {
	if len(b) == 0 || letter(b[0]) {
		return false
	}
	b = bytes.TrimLeft(b, " \n")
	return len(b) > 0 && (strings.IndexByte("0123456789*@'\"(", b[0]) >= 0 || bytes.HasPrefix(b, []byte("null"))) || bytes.IndexByte(b, ',') >= 0 || has(b, " from ")
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' }

// tautology finds what is always true or never: or 1=1, and 'a'='b.
func tautology(b []byte) bool {
	for i := 1; i < len(b); i++ {
		var rest []byte
		switch {
		case !strings.ContainsRune(" '\")\n", rune(b[i-1])):
			continue
		case bytes.HasPrefix(b[i:], []byte("or")):
			rest = b[i+2:]
		case bytes.HasPrefix(b[i:], []byte("and")):
			rest = b[i+3:]
		case bytes.HasPrefix(b[i:], []byte("||")):
			rest = b[i+2:]
		default:
			continue
		}
		if len(rest) == 0 || letter(rest[0]) {
			continue
		}
		left, rest := literal(rest)
		rest = bytes.TrimLeft(rest, " ")
		if left == nil || len(rest) == 0 || rest[0] != '=' {
			if left == nil || !bytes.HasPrefix(rest, []byte("like")) {
				continue
			}
			rest = rest[3:]
		}
		if right, _ := literal(rest[1:]); right != nil {
			return true
		}
	}
	return false
}

// literal reads a number or a text in quotes, whose last one may be missing.
func literal(b []byte) (value, rest []byte) {
	b = bytes.TrimLeft(b, " (")
	if len(b) == 0 {
		return nil, b
	}
	if b[0] == '\'' || b[0] == '"' {
		end := 1
		for end < len(b) && end < 16 && letter(b[end]) {
			end++
		}
		if end < len(b) && b[end] == b[0] {
			return b[:end], b[end+1:]
		}
		return b[:end], b[end:]
	}
	end := 0
	for end < len(b) && b[end] >= '0' && b[end] <= '9' {
		end++
	}
	if end == 0 {
		return nil, b
	}
	return b[:end], b[end:]
}

// sleeps finds sleep(5) where a query has it.
func sleeps(b []byte) bool {
	_, after, found := bytes.Cut(b, []byte("sleep("))
	return found && len(after) > 0 && after[0] >= '0' && after[0] <= '9'
}

// commented finds a quote after which the rest of a query is made a comment.
func commented(b []byte) bool {
	at := bytes.IndexByte(b, '\'')
	if at < 0 {
		return false
	}
	end := bytes.TrimRight(b[at:], " ")
	return bytes.HasSuffix(end, []byte("--")) || bytes.HasSuffix(end, []byte("'#")) || has(b[at:], "'-- ") || has(b[at:], "' -- ")
}

func ofXSS(b []byte) uint32 {
	if hasAny(b, tags) || hasAny(b, scriptWords) {
		return xss
	}
	// A tag with something that runs: <img src=x onerror=...
	for {
		_, rest, found := bytes.Cut(b, []byte("<"))
		if !found {
			return 0
		}
		b = rest
		tag, _, _ := bytes.Cut(b, []byte(">"))
		if len(tag) > 0 && tag[0] >= 'a' && tag[0] <= 'z' {
			if handler(tag) {
				return xss
			}
			b = b[len(tag):] // one within it ends where it does, and has nothing more
		}
	}
}

// handler finds on...= in a tag.
func handler(tag []byte) bool {
	for i := 1; i+2 < len(tag); i++ {
		if tag[i] != 'o' || tag[i+1] != 'n' || !strings.ContainsRune(" /'\"\n", rune(tag[i-1])) {
			continue
		}
		end := i + 2
		for end < len(tag) && tag[end] >= 'a' && tag[end] <= 'z' {
			end++
		}
		if end > i+4 && end < len(bytes.TrimRight(tag, " ")) && bytes.TrimLeft(tag[end:], " ")[0] == '=' {
			return true
		}
	}
	return false
}

// climbs is how many steps up one after the other no page takes.
const climbs = "../../../"

func ofTraversal(b []byte) uint32 {
	path, query, _ := bytes.Cut(b, []byte("?"))
	if has(query, climbs) || above(path) || hasAny(b, fileWords) {
		return traversal
	}
	return 0
}

// above reports whether a path leads above its root. Whoever asks for pages resolves such steps before.
func above(path []byte) bool {
	if !has(path, "../") {
		return false
	}
	depth := 0
	for len(path) > 0 {
		part, rest, _ := bytes.Cut(path, []byte("/"))
		switch string(part) {
		case "", ".":
		case "..":
			if depth--; depth < -1 { // one step too many is in many a link
				return true
			}
		default:
			depth++
		}
		path = rest
	}
	return false
}

// Programs that are called where commands are injected. The short ones are words of other kinds, too, so they need more behind them.
var (
	programs      = []string{"cat", "whoami", "uname", "wget", "curl", "bash", "ping", "nslookup", "python", "perl", "powershell", "ifconfig", "ipconfig", "busybox", "tftp", "netstat", "systeminfo", "telnetd", "sleep", "passwd"}
	shortPrograms = []string{"id", "ls", "sh", "nc", "rm", "dir", "type", "echo", "touch", "chmod", "cd", "ps"}
)

func ofCommand(b []byte) uint32 {
	if hasAny(b, codeWords) {
		return command
	}
	for i := 0; i < len(b); i++ {
		c, rest := b[i], b[i+1:]
		switch {
		case c == ';' || c == '|' || c == '`' || c == '\n':
		case c == '&' && len(rest) > 0 && rest[0] == '&', c == '$' && len(rest) > 0 && rest[0] == '(':
			rest = rest[1:]
		default:
			continue
		}
		call := bytes.TrimLeft(rest, " |\n")
		if calls(call, c == '`' || c == '$') {
			return command
		}
		if len(call) < len(rest) {
			i = len(b) - len(call) - 1 // what lies before calls nothing else
		}
	}
	return 0
}

// calls reports whether a text begins with the call of a program. In brackets its name suffices.
func calls(b []byte, brackets bool) bool {
	if at := bytes.LastIndexByte(b[:wordEnd(b)], '/'); at >= 0 {
		b = b[at+1:]
	}
	word, rest := b[:nameEnd(b)], b[nameEnd(b):]
	for _, name := range programs {
		if string(word) == name {
			return len(rest) == 0 || strings.ContainsRune(" ;|&`)'\"\n<>", rune(rest[0]))
		}
	}
	for _, name := range shortPrograms {
		if string(word) == name {
			return len(rest) > 1 && rest[0] == ' ' && (rest[1] == '-' || rest[1] == '/' || rest[1] == '.' || rest[1] == '&') ||
				len(rest) > 0 && strings.ContainsRune(";|`", rune(rest[0])) || brackets && (len(rest) == 0 || rest[0] == ')')
		}
	}
	return false
}

// wordEnd is where a path of a program ends, nameEnd where a name does.
func wordEnd(b []byte) int { return end(b, "/._-") }
func nameEnd(b []byte) int { return end(b, "_") }

func end(b []byte, also string) int {
	n := 0
	for n < len(b) && n < 64 && (letter(b[n]) || strings.IndexByte(also, b[n]) >= 0) {
		n++
	}
	return n
}

// lookup finds what Log4j looks up, also where parts of it are looked up themselves to hide it.
func lookup(b []byte) uint32 {
	if has(b, "${jndi:") || has(b, "${") && (has(b, "${lower:") || has(b, "${upper:") || has(b, "${::-")) {
		return jndi
	}
	return 0
}

// What web shells are called, and the parameters that their orders come in.
var (
	shells  = []string{"/c99.php", "/r57.php", "/wso.php", "/b374k", "/cmd.jsp", "/cmdjsp.jsp", "/shell.php", "/webshell", "/cmd.php", "/cmd.aspx", "/aspxspy", "/simple-backdoor.php"}
	givenBy = []string{"cmd=", "exec=", "command=", "shell=", "execute=", "c="}
	scripts = []string{".php", ".jsp", ".jspx", ".asp", ".aspx", ".ashx", ".cfm"}
)

// ofShell finds a script that is given a command.
func ofShell(b []byte) uint32 {
	path, query, found := bytes.Cut(b, []byte("?"))
	if !found {
		return 0
	}
	known := hasAny(path, shells)
	for _, ending := range scripts {
		known = known || bytes.HasSuffix(path, []byte(ending))
	}
	if !known {
		return 0
	}
	for len(query) > 0 {
		var parameter []byte
		parameter, query, _ = bytes.Cut(query, []byte("&"))
		for _, name := range givenBy {
			value, is := bytes.CutPrefix(parameter, []byte(name))
			if is && (calls(value, true) || bytes.HasPrefix(value, []byte("net user"))) {
				return webshell
			}
		}
	}
	return 0
}
