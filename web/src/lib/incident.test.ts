import { expect, it } from 'vitest'
import type { Alert, Incident, IncidentStage } from '../api/types'
import { chain, courseOf, graphOf, hostOf, kindOf, linksOf, networkOf, stageNames, ticksOf } from './incident'

const at = (minute: number) => new Date(Date.UTC(2026, 2, 1, 12, minute)).toISOString()
const alert = (id: string, src: string, dst: string, techniques: string[], from = 0, to = from, severity: Alert['severity'] = 'medium') =>
  ({ id, title: id, src, dst, techniques, severity, first_seen: at(from), last_seen: at(to) }) as Alert
const stage = (name: string, ...ids: string[]): IncidentStage => ({ tactic: name, name, techniques: ids.map((id) => ({ id, name: id })) })
const stages = [stage('Discovery', 'T1046'), stage('Credential Access', 'T1110'), stage('Impact', 'T1486')]

it('orders stages as the kill chain, the industrial ones with their namesakes', () => {
  expect(chain).toHaveLength(16)
  expect(stageNames([stage('Impact'), stage('Evasion'), stage('Impair Process Control'), stage('Defense Evasion'), stage('Discovery')]))
    .toEqual(['Defense Evasion', 'Discovery', 'Impair Process Control', 'Impact'])
})

it('tells a host from its port', () => {
  expect(['10.0.0.1:443', '10.0.0.1', '[2001:db8::1]:53', '2001:db8::1', '10.0.0.0/24', 'a.example:25', '02:66:00:00:00:42', ''].map(hostOf))
    .toEqual(['10.0.0.1', '10.0.0.1', '2001:db8::1', '2001:db8::1', '10.0.0.0/24', 'a.example', '02:66:00:00:00:42', ''])
  expect(['10.0.0.1', '2001:db8::1', '10.0.0.0/24', 'a.example'].map(kindOf)).toEqual(['host', 'host', 'network', 'name'])
})

it('puts alerts into lanes by tactic and rows by time', () => {
  const course = courseOf([alert('c', 'a', 'b', ['T1486'], 60), alert('a', 'a', 'b', ['T1046'], 0, 60), alert('b', 'a', 'b', ['T1046', 'T1110'], 30), alert('d', 'a', 'b', ['T9999'], 5)], stages)
  expect(course.lanes.map((l) => [l.name, l.rows, l.marks.map((m) => `${m.alert.id}${m.row}`).join(' ')])).toEqual([
    ['Credential Access', 1, 'b0'], ['Discovery', 2, 'a0 b1'], ['Impact', 1, 'c0'], ['', 1, 'd0'],
  ])
  for (const mark of course.lanes.flatMap((l) => l.marks)) {
    expect(mark.from).toBeGreaterThanOrEqual(0)
    expect(mark.to).toBeLessThanOrEqual(1)
    expect(mark.to).toBeGreaterThan(mark.from)
  }
})

it('says how many alerts found no room', () => {
  const course = courseOf(Array.from({ length: 20 }, (_, i) => alert(`a${i}`, 'a', 'b', ['T1046'])), stages)
  expect(course.lanes[0]!.marks.length + course.left).toBe(20)
  expect(course.left).toBeGreaterThan(0)
})

it('labels an axis at round times', () => {
  const from = Date.UTC(2026, 2, 1, 12, 0, 7)
  expect(ticksOf(from, from + 60_000, 6).map((t) => new Date(t).getSeconds())).toEqual([10, 20, 30, 40, 50, 0])
  expect(ticksOf(from, from + 1000, 5).length).toBeGreaterThan(0)
  expect(ticksOf(from, from + 90 * 86_400_000, 5).length).toBeLessThan(51)
})

it('draws who did what to whom the same, whatever the order', () => {
  const alerts = [
    alert('1', '10.0.0.66', '10.0.0.20:22', ['T1110'], 0, 5, 'high'), alert('2', '10.0.0.66', '10.0.0.20:23', ['T1046']),
    alert('3', '10.0.0.20', '203.0.113.9:443', ['T1071']), alert('4', '10.0.0.20', '', ['T1486'], 9, 9, 'critical'), alert('5', '', '10.0.0.30', ['T1498']),
  ]
  const entities = [{ host: '10.0.0.20', role: 'pivot', alerts: 4, device: 'dev1' }] as Incident['entities']
  expect(linksOf(alerts).map((l) => `${l.from}>${l.to} ${l.techniques.join(',')} ${l.severity} ${l.alerts.length}`)).toEqual([
    '10.0.0.20>10.0.0.20 T1486 critical 1', '10.0.0.66>10.0.0.20 T1046,T1110 high 2', '>10.0.0.30 T1498 medium 1', '10.0.0.20>203.0.113.9 T1071 medium 1',
  ])
  const graph = graphOf(alerts, entities)
  const x = Object.fromEntries(graph.nodes.map((n) => [n.host, n.x]))
  expect(x['10.0.0.66']).toBeLessThan(x['10.0.0.20']!)
  expect(x['10.0.0.20']).toBeLessThan(x['203.0.113.9']!)
  expect(graph.nodes.find((n) => n.host === '10.0.0.20')).toMatchObject({ role: 'pivot', device: 'dev1', alone: { techniques: ['T1486'] } })
  expect(graph.links).toHaveLength(3)
  expect(graphOf(alerts.toReversed(), entities)).toEqual(graph)
})

it('draws rings, and says what it leaves out', () => {
  const ring = graphOf([alert('1', 'a', 'b', []), alert('2', 'b', 'c', []), alert('3', 'c', 'a', [])], [])
  expect(ring.nodes).toHaveLength(3)
  const many = graphOf(Array.from({ length: 200 }, (_, i) => alert(`${i}`, 'a', `10.0.0.${i}`, [])), [])
  expect(many.nodes.length + many.left).toBe(201)
  expect(many.left).toBeGreaterThan(0)
  const two = graphOf([alert('1', 'a', 'b', [])], [], 'narrow')
  expect(two.width).toBeLessThan(330)
  expect(new Set(many.nodes.map((n) => `${n.x} ${n.y}`)).size).toBe(many.nodes.length)
})

it('knows the network of an address', () => {
  expect(['10.1.2.3', '2001:db8::1', 'a.example', '02:66:00:00:00:42', '10.0.0.0/24'].map(networkOf)).toEqual(['10.1.2.0/24', '2001:db8::1/64', undefined, undefined, undefined])
})

it('draws the accounts that somebody got in with, and those that several alerts tried', () => {
  const alerts = [alert('guess', 'a', 'dc:22', ['T1110']), alert('use', 'b', 'files', ['T1569'])]
  const accounts = [
    { name: 'alice@corp', got_in: ['guess', 'use'], tried: [] },
    { name: 'bob@corp', got_in: [], tried: ['guess'] },
    { name: 'root@dc', got_in: [], tried: ['guess', 'use'] },
  ]
  const graph = graphOf(alerts, [], 'wide', accounts)
  expect(graph.nodes.filter((n) => n.kind === 'account').map((n) => [n.host, n.role]).toSorted()).toEqual([['alice@corp', 'pivot'], ['root@dc', 'target']])
  expect(graph.links.filter((l) => l.from === 'alice@corp').map((l) => l.to).toSorted()).toEqual(['dc', 'files'])
  expect(graph.links.filter((l) => l.to === 'alice@corp').map((l) => l.from).toSorted()).toEqual(['a', 'b'])
  expect(graphOf(alerts, [], 'wide', []).nodes).toHaveLength(4)
})
