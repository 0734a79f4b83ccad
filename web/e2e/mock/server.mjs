// A MOCK of picketd for working on the pages without one. Development only: nothing of the product uses it, and the
// tests run against the real server. It serves the built pages under the real content security policy.
import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = fileURLToPath(new URL('../../dist/', import.meta.url))
const port = Number(process.env.PORT ?? 8099)
const empty = process.env.MOCK_EMPTY === '1'
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' }

const now = () => new Date()
const before = (s) => new Date(Date.now() - s * 1000).toISOString()
const uuid = () => randomUUID()
let needsSetup = empty

const agents = empty ? [] : [
  { id: 'a1', name: 'ws-lindgren', os: 'linux', arch: 'amd64', version: '0.1.0', state: 'online', address: '127.0.0.1', last_seen: before(1), enrolled_at: before(4000), labels: { site: 'office' }, queue: { depth: 0, bytes: 0, dropped: 0 } },
  { id: 'a2', name: 'db-01.internal.example.org', os: 'linux', arch: 'arm64', version: '0.1.0', state: 'late', address: '10.4.0.12', last_seen: before(95), enrolled_at: before(90000), labels: {}, queue: { depth: 14, bytes: 82000, dropped: 0 } },
]
const ledger = (cpu, mem) => ({ cpu_seconds: cpu, memory_bytes: mem, calls: 412, errors: 1, records: 48_211, findings: 3, crashes: 0, latency_p50_ms: 3.1, latency_p95_ms: 9.4, log_dropped: 0 })
const log = [
  { time: before(60), level: 'info', text: 'configured interval=5s sections=cpu,memory,disk,network' },
  { time: before(30), level: 'warn', text: 'filesystem /mnt/backup did not answer within 2s; left out' },
  { time: before(5), level: 'error', text: 'read /proc/diskstats: <script>alert(1)</script> malformed line 14' },
]
const schema = {
  type: 'object', required: ['url', 'token'],
  properties: {
    url: { type: 'string', description: 'Where the notice is sent, as an HTTP POST.', format: 'uri', 'x-format': 'url', 'x-order': 0 },
    token: { type: 'string', description: 'Sent as a bearer token.', writeOnly: true, 'x-secret': true, 'x-order': 1 },
    format: { type: 'string', description: 'How the body is written.', enum: ['json', 'slack', 'teams'], default: 'json', 'x-order': 2 },
    timeout: { type: 'string', description: 'How long to wait for the answer.', 'x-format': 'duration', default: '10s', 'x-order': 3 },
    retries: { type: 'integer', description: 'Tries in one delivery.', default: 2, minimum: 0, maximum: 10, 'x-order': 4 },
    tls: { type: 'object', 'x-order': 5, properties: { verify: { type: 'boolean', default: true, description: 'Check the certificate.' }, names: { type: 'array', items: { type: 'string' }, description: 'Accepted host names.' } } },
  },
}
const base = { versions: ['0.1.0'], version: '0.1.0', license: 'Apache-2.0', trust: 'development', readme: '# Name\n\nWhat it does, in plain words.\n' }
const onAgent = (i, state, extra = {}) => ({ instance: i, plugin: 'picket/host', node: { type: 'agent', id: 'a1', name: 'ws-lindgren' }, state, runtime: 'process', version: '0.1.0', pid: 4121, restarts: 0, since: before(3800), ledger: ledger(8.21, 21_400_000), log_tail: log, config: {}, grants: [], ...extra })
const onServer = (i, state, extra = {}) => ({ ...onAgent(i, state), node: { type: 'server', id: 'server', name: 'server' }, ...extra })
const plugins = [
  { ...base, id: 'picket/host', title: 'Host', summary: 'Measures CPU, memory, file systems, disks, network, load and uptime of the machine it runs on.', kind: 'collector', runtimes: ['process'], permissions: [{ cap: 'host.metrics', reason: 'It reads the load, disks and interfaces of the machine.' }, { cap: 'fs.read', args: { paths: ['/proc', '/sys'] }, reason: 'The kernel tells its figures there.' }], config_schema: { type: 'object', properties: {} }, enabled: !empty, instances: empty ? [] : [onAgent('host', 'ready'), onAgent('host-2', 'backoff', { reason: 'exited with status 2: panic: runtime error: index out of range [3] with length 3', node: { type: 'agent', id: 'a2', name: 'db-01.internal.example.org' }, restarts: 2 })] },
  { ...base, id: 'picket/ping', title: 'Ping', summary: 'Finds devices in a stated range by ICMP echo.', kind: 'discovery', runtimes: ['process'], permissions: [{ cap: 'net.raw', args: { proto: ['icmp'] }, reason: 'It sends ICMP echo requests.' }], config_schema: { type: 'object', required: ['targets'], properties: { targets: { type: 'array', items: { type: 'string', 'x-format': 'cidr' }, description: 'Ranges to ask, in CIDR form.', 'x-order': 0 }, rate: { type: 'integer', default: 200, minimum: 1, maximum: 10000, description: 'Echo requests per second, at most.', 'x-order': 1 } } }, enabled: false, instances: [] },
  { ...base, id: 'picket/arp', title: 'ARP', summary: 'Reads the neighbour table and finds devices on the local network.', kind: 'discovery', runtimes: ['process'], permissions: [{ cap: 'fs.read', args: { paths: ['/proc/net/arp'] }, reason: 'The neighbour table is there.' }], enabled: !empty, instances: empty ? [] : [onAgent('arp', 'ready', { ledger: ledger(0.4, 9_000_000) })] },
  { ...base, id: 'picket/portscan', title: 'Port scan', summary: 'Finds hosts that probe many ports or many hosts.', kind: 'detector', runtimes: ['process', 'wasm'], permissions: [{ cap: 'flows.read', reason: 'It judges flows.' }], rules: [{ id: 'vertical', purpose: 'One host tries many ports of another.', techniques: ['T1046'], severity: 'high', false_positives: ['Inventory scanners that you run yourself', 'Load balancers checking health'] }], enabled: true, instances: [onServer('portscan', 'ready', { runtime: 'wasm', ledger: ledger(1.9, 58_000_000) })] },
  { ...base, id: 'picket/beacon', title: 'Beacon', summary: 'Finds connections that come back at regular intervals.', kind: 'detector', runtimes: ['process', 'wasm'], permissions: [{ cap: 'flows.read', reason: 'It judges flows.' }], rules: [], enabled: true, instances: [onServer('beacon', 'quarantined', { reason: 'three crashes in ten minutes; the last: killed by the memory limit of 64 MiB', restarts: 3 })] },
  { ...base, id: 'picket/webhook', title: 'Webhook', summary: 'Sends notices as HTTP POST.', kind: 'notifier', runtimes: ['process'], permissions: [{ cap: 'net.dial', args: { proto: ['tcp'], to: ['${config.url}'] }, reason: 'It sends to the address that you configure.' }, { cap: 'secret.read', args: { keys: ['token'] }, reason: 'It signs in with the token.', optional: true }], config_schema: schema, enabled: false, instances: [] },
  { ...base, id: 'picket/email', title: 'E-mail', summary: 'Sends notices by SMTP.', kind: 'notifier', runtimes: ['process'], permissions: [], config_schema: schema, enabled: false, instances: [] },
]
const flows = Array.from({ length: 30 }, (_, i) => ({ id: i + 4, community_id: `1:${createHash('sha1').update(String(i)).digest('base64')}`, proto: 'tcp', src: `10.20.0.66:${40000 + i}`, dst: `10.20.0.10:${20 + i * 3}` }))
const finding = { id: 'f1', detector: 'picket/portscan', rule: 'vertical', severity: 'high', risk: 74, confidence: 0.93, techniques: ['T1046'], src: '10.20.0.66', dst: '10.20.0.10', start: before(900), end: before(880), packets: [812, 813, 814, 815, 820, 821, 830, 1002, ...Array.from({ length: 60 }, (_, i) => 1100 + i * 2)], flows, features: { distinct_ports: 1000, half_open_ratio: 0.982, duration_seconds: 19.7, rate_per_second: 50.8, answered: 3 }, summary: '10.20.0.66 tried 1,000 ports of 10.20.0.10 within 19.7 s; 98 % of the attempts were never completed, and three ports answered.' }
const alerts = empty ? [] : [
  { id: 'al1', state: 'firing', severity: 'high', risk: 74, confidence: 0.93, title: 'Vertical port scan', detector: 'picket/portscan', rule: 'vertical', techniques: ['T1046'], src: '10.20.0.66', dst: '10.20.0.10', first_seen: before(900), last_seen: before(880), count: 1, capture_id: 'c1' },
  { id: 'al2', state: 'firing', severity: 'critical', risk: 91, confidence: 0.81, title: 'Beacon to one server at regular intervals', detector: 'picket/beacon', rule: 'periodic', techniques: ['T1071', 'T1071.001', 'T1573'], src: '10.20.0.31', dst: '203.0.113.80:8443', first_seen: before(2900), last_seen: before(400), count: 3, capture_id: 'c1' },
  { id: 'al3', state: 'acknowledged', severity: 'medium', risk: 40, confidence: 0.5, title: 'Many hosts asked for one port', detector: 'picket/portscan', rule: 'horizontal', techniques: ['T1018'], src: '10.20.0.4', dst: '10.20.0.0/24', first_seen: before(92900), last_seen: before(90400), count: 12, capture_id: 'c1' },
  { id: 'al4', state: 'resolved', severity: 'low', risk: 12, confidence: 0.4, title: 'Slow probe <img src=x onerror=alert(1)>', detector: 'picket/portscan', rule: 'slow', techniques: [], src: '2001:db8::1234:5678:9abc:def0', dst: '2001:db8::1', first_seen: before(192900), last_seen: before(190400), count: 2 },
]
const captures = empty ? [] : [
  { id: 'c1', name: 'first-light.pcap', sha256: 'a'.repeat(64), size: 1_840_222, state: 'done', progress: 1, packets: 6_412, bytes: 1_740_000, flows: 1_377, first_packet: before(3000), last_packet: before(400), findings: 4, created: before(300) },
  { id: 'c2', name: 'core-switch-span-2026-11-21T14.pcapng.gz', sha256: 'b'.repeat(64), size: 918_840_222, state: 'running', progress: 0.41, packets: 2_416_412, bytes: 801_740_000, flows: 81_377, first_packet: before(9000), last_packet: before(400), findings: 0, created: before(30) },
  { id: 'c3', name: 'holiday.jpg', sha256: 'c'.repeat(64), size: 84_022, state: 'failed', progress: 0, packets: 0, bytes: 0, flows: 0, findings: 0, error: 'read holiday.jpg: not a capture: it begins with ff d8 ff e0; expected pcap or pcapng', created: before(3000) },
]
const devices = empty ? [] : [
  { id: 'd1', ips: ['10.20.0.1'], macs: ['3c:ec:ef:01:02:03'], hostnames: ['gw.example.org'], vendor: 'Super Micro Computer', first_seen: before(900000), last_seen: before(20), sources: ['picket/arp', 'picket/ping'], facts: { rtt_seconds: { value: '0.00042', source: 'picket/ping', confidence: 0.9, time: before(20) }, ttl: { value: '64', source: 'picket/ping', confidence: 0.9, time: before(20) } } },
  { id: 'd2', ips: ['10.20.0.66', 'fe80::1c2:33ff:fe44:5566'], macs: ['02:42:ac:11:00:02'], hostnames: [], first_seen: before(1900), last_seen: before(120), sources: ['picket/arp'], facts: {} },
]
const steps = [
  { id: 'enable_plugin', done: false, title: 'Enable a plugin', text: 'Ping finds the devices around you. It asks which range it may look at.', link: '/plugins' },
  { id: 'add_machine', done: false, title: 'Add a machine', text: 'One command on another host, and its charts appear here.', link: '/machines' },
  { id: 'drop_capture', done: false, title: 'Drop your own capture', text: 'A pcap from your network is judged in seconds.', link: '/captures' },
  { id: 'get_told', done: false, title: 'Get told', text: 'Send alerts by e-mail or to a webhook.', link: '/plugins' },
]
const commands = [{ id: 'x1', type: 'collect-now', state: 'done', args: {}, issued: before(300), expires: before(-300), created_by: 'user:ada', output: '62 samples' }]
const tokens = empty ? [] : [{ id: 't1', name: 'grafana', role: 'SUP', hint: 'pkt_a91f', created_by: 'user:ada', created: before(864000), last_used: before(60) }]
const audit = [
  { id: 'e1', time: before(12), actor: 'user:ada', action: 'login', outcome: 'ok', address: '127.0.0.1' },
  { id: 'e2', time: before(60), actor: 'agent:a2', action: 'agent.request', object: '/api/v1/metrics', outcome: 'refused', detail: 'signature: the nonce was seen before', address: '10.4.0.12' },
  { id: 'e3', time: before(600), actor: 'user:ada', action: 'plugin.enable', object: 'picket/arp', outcome: 'ok', address: '127.0.0.1' },
]

function series(q) {
  const metric = q.get('metric')
  const step = (parseInt(q.get('step')) || 5) * 1000
  const from = Math.ceil(Date.parse(q.get('from')) / step) * step
  const to = Date.parse(q.get('to'))
  const wave = (t, period, phase) => 0.5 + 0.5 * Math.sin(t / period + phase) * Math.cos(t / (period * 2.7) + phase)
  const points = (f) => {
    const out = []
    for (let t = from; t <= to; t += step) {
      const age = (Date.now() - t) / 1000
      out.push([t, age > 300 && age < 400 ? null : f(t)])
    }
    return out
  }
  const many = {
    'system.cpu.time': ['user', 'system', 'iowait', 'idle', 'nice'].map((m, i) => ({ labels: { 'cpu.mode': m, 'cpu.logical_number': '0' }, points: points((t) => [0.4, 0.15, 0.06, 1.4, 0][i] * (0.4 + wave(t, 41e3 + i * 7e3, i))) })),
    'system.memory.usage': [['used', 6.1e9], ['cached', 3.9e9], ['buffers', 0.4e9], ['free', 5.6e9]].map(([s, v], i) => ({ labels: { 'system.memory.state': s }, points: points((t) => v * (1 + 0.06 * wave(t, 200e3, i))) })),
    'system.disk.io': ['read', 'write'].map((d, i) => ({ labels: { 'disk.io.direction': d, 'system.device': 'sda' }, points: points((t) => 9e6 * wave(t, 23e3, i) ** 4) })),
    'system.network.io': ['receive', 'transmit'].flatMap((d, i) => ['eth0', 'lo'].map((n) => ({ labels: { 'network.io.direction': d, 'network.interface.name': n }, points: points((t) => 2.4e6 * wave(t, 61e3, i + 2) ** 3) }))),
    'system.filesystem.usage': [['/', 0.62, 5e11], ['/boot', 0.31, 1e9], ['/var/lib/backup', 0.94, 2e12]].flatMap(([m, u, all]) => [['used', u], ['free', 1 - u]].map(([s, p]) => ({ labels: { 'system.filesystem.mountpoint': m, 'system.filesystem.state': s }, points: points(() => all * p) }))),
  }
  return { metric, unit: 'By', type: 'gauge', step_seconds: step / 1000, series: empty ? [] : (many[metric] ?? []) }
}

const page = (items) => ({ items, next_cursor: '' })
const problem = (status, title, detail, errors) => ({ status, problem: { type: 'about:blank', status, title, detail, errors } })
const find = (list, id) => list.find((x) => x.id === id) ?? problem(404, 'Not Found', `there is nothing with the id ${id}`)

async function api(method, path, q, body, cookies) {
  const p = path.slice('/api/v1'.length)
  const m = (re) => p.match(re)
  const session = { username: 'ada', role: 'ADM', trust: 'development', version: '0.1.0-dev', dev: true, csrf: 'x' }
  if (p === '/setup') {
    if (method === 'GET') return { needed: needsSetup }
    if (body.password?.length < 10) return problem(422, 'Unprocessable Entity', 'must have at least 10 characters', [{ location: 'body.password', message: 'must have at least 10 characters' }])
    needsSetup = false
    return { login: true, ...session }
  }
  if (p === '/login') return body.password === 'correct horse battery' ? { login: true, ...session } : problem(401, 'Unauthorized', 'user name or password is wrong')
  if (p === '/signin') return body.token === 'once' ? { login: true, ...session } : problem(401, 'Unauthorized', 'this link was used or is too old')
  if (!cookies.includes('picket_session=1')) return problem(401, 'Unauthorized', 'sign in first')
  if (p === '/me') return session
  if (p === '/logout') return { logout: true }
  if (p === '/overview') return { devices: devices.length, agents: { online: agents.filter((a) => a.state === 'online').length, total: agents.length }, alerts: empty ? {} : { high: 1, critical: 1 }, plugins: { ready: 4, total: 6 }, steps }
  if (p === '/series') return series(q)
  if (p === '/alerts') return page(alerts.filter((a) => (!q.get('state') || a.state === q.get('state')) && (!q.get('severity') || a.severity === q.get('severity')) && (!q.get('capture') || a.capture_id === q.get('capture'))))
  let hit
  if ((hit = m(/^\/alerts\/([^/]+)$/))) {
    const a = find(alerts, hit[1])
    return a.problem ? a : { ...a, findings: [{ ...finding, id: 'f0', severity: 'medium', summary: 'An earlier look at the same thing.' }, finding], evidence: { packets: finding.packets, flows: finding.flows }, rule_purpose: 'One host tries many ports of another.', false_positives: ['An inventory or vulnerability scanner that you run yourself.', 'A load balancer that checks the health of many services.'], notices: hit[1] === 'al1' ? [] : [{ id: 'n1', notifier: 'picket/webhook', state: 'delivered', attempts: 1, receipt: { foreign_id: 'msg-1881' }, time: before(380) }, { id: 'n2', notifier: 'picket/email', state: 'failed', attempts: 3, last_error: 'dial tcp 10.1.1.25:587: connection refused', time: before(300) }] }
  }
  if ((hit = m(/^\/alerts\/([^/]+)\/(acknowledge|resolve)$/))) {
    const a = alerts.find((x) => x.id === hit[1])
    a.state = hit[2] === 'resolve' ? 'resolved' : 'acknowledged'
    return a
  }
  if (p === '/captures' && method === 'POST') {
    const c = { ...captures[0], id: uuid(), name: 'uploaded.pcap', created: now().toISOString() }
    captures.unshift(c)
    return c
  }
  if (p === '/captures') return page(captures)
  if ((hit = m(/^\/captures\/([^/]+)$/))) return find(captures, hit[1])
  if (p === '/devices') return page(devices)
  if ((hit = m(/^\/devices\/([^/]+)$/))) return find(devices, hit[1])
  if (p === '/agents') return page(agents.map((a) => ({ ...a, plugins: plugins.flatMap((x) => x.instances.filter((i) => i.node.id === a.id).map((i) => ({ ...i, plugin: x.id }))) })))
  if (p === '/agents/tokens') return { token: 'pkte_' + 'x'.repeat(60), command: `picket-agent --server http://127.0.0.1:${port} --token pkte_${'x'.repeat(60)}`, expires: before(-3600) }
  if ((hit = m(/^\/agents\/([^/]+)$/))) {
    const a = find(agents, hit[1])
    return a.problem ? a : { ...a, plugins: plugins.flatMap((x) => x.instances.filter((i) => i.node.id === a.id).map((i) => ({ ...i, plugin: x.id }))) }
  }
  if ((hit = m(/^\/agents\/([^/]+)\/commands$/))) {
    if (method === 'POST') commands.unshift({ id: uuid(), type: body.type, state: 'queued', args: body.args, issued: now().toISOString(), expires: before(-300), created_by: 'user:ada' })
    return method === 'POST' ? commands[0] : page(commands)
  }
  if (p === '/plugins') return page(plugins)
  if ((hit = m(/^\/plugins\/([^/]+\/[^/]+)$/))) return find(plugins, hit[1])
  if ((hit = m(/^\/plugins\/([^/]+\/[^/]+)\/(\w+)$/))) {
    if (hit[2] === 'enable' && body.config?.url === 'http://169.254.169.254/') return problem(422, 'Unprocessable Entity', 'the ceiling of this node does not allow picket/webhook to reach 169.254.169.254: change net.dial in /etc/picket/policy.yaml', [{ location: 'body.config.url', message: 'not under the ceiling' }])
    return {}
  }
  if (p === '/tokens') return method === 'POST' ? { id: uuid(), token: 'pkt_' + 'y'.repeat(40) } : page(tokens)
  if (p === '/audit') return page(audit)
  return problem(404, 'Not Found', `no route ${method} ${path}`)
}

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://mock')
  res.setHeader('Content-Security-Policy', policy)
  res.setHeader('X-Content-Type-Options', 'nosniff')
  if (url.pathname.startsWith('/api/')) {
    const chunks = []
    for await (const c of req) chunks.push(c)
    let body = {}
    try {
      body = JSON.parse(Buffer.concat(chunks).toString() || '{}')
    } catch {
      // an upload
    }
    const out = await api(req.method, url.pathname, url.searchParams, body, req.headers.cookie ?? '')
    if (out.login) res.setHeader('Set-Cookie', ['picket_session=1; Path=/; HttpOnly', 'picket_csrf=x; Path=/'])
    if (out.logout) res.setHeader('Set-Cookie', 'picket_session=; Path=/; Max-Age=0')
    res.writeHead(out.problem ? out.status : 200, { 'Content-Type': out.problem ? 'application/problem+json' : 'application/json' })
    res.end(JSON.stringify(out.problem ?? out))
    return
  }
  const file = join(dist, normalize(url.pathname))
  const found = extname(file) && existsSync(file) ? file : join(dist, 'index.html')
  res.writeHead(200, { 'Content-Type': types[extname(found)] ?? 'application/octet-stream' })
  createReadStream(found).pipe(res)
})

// The live channel: a handshake and one short text frame every two seconds.
server.on('upgrade', (req, socket) => {
  const accept = createHash('sha1').update(req.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
  let id = 0
  const timer = setInterval(() => {
    const text = Buffer.from(JSON.stringify({ id: String(++id), topic: 'samples', data: {} }))
    socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]))
  }, 2000)
  socket.on('close', () => clearInterval(timer))
  socket.on('error', () => clearInterval(timer))
})
server.listen(port, '127.0.0.1', () => console.log(`MOCK on http://127.0.0.1:${port}/signin#token=once`))
