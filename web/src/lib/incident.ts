// An incident as its pages draw it: the kill chain, the course in time, who did what to whom. All of it comes out the same for the
// same incident, whatever the order of its alerts.
import { severities, type Alert, type Incident, type IncidentDetail, type IncidentStage, type Severity } from '../api/types'
import { tacticsOf } from './techniques'

const [impact] = tacticsOf('enterprise').slice(-1).map((t) => t.name)

/** The places of the kill chain. The industrial tactics stand with their namesakes, those without one before the damage. */
export const chain: readonly string[] = [...tacticsOf('enterprise').map((t) => t.name).filter((name) => name !== impact), 'Inhibit Response Function', 'Impair Process Control', impact!]

const placeOf = (name: string): string => (name === 'Evasion' ? 'Defense Evasion' : name)

/** The names of an incident's stages, each once, in the order of the kill chain. */
export function stageNames(stages: readonly Pick<IncidentStage, 'name'>[]): string[] {
  const seen = new Set(stages.map((s) => placeOf(s.name)))
  return chain.filter((name) => seen.has(name))
}

/** The host of "address:port"; what is no such thing stays as it is. */
export function hostOf(side: string): string {
  const v6 = /^\[([^\]]+)\]:\d+$/.exec(side)
  if (v6) return v6[1]!
  return /^[^:]+:\d+$/.test(side) ? side.slice(0, side.lastIndexOf(':')) : side
}

export type HostKind = 'host' | 'network' | 'name' | 'account'

export function kindOf(host: string): HostKind {
  if (host.includes('/')) return 'network'
  return /^[\d.]+$/.test(host) || host.includes(':') ? 'host' : 'name'
}

export const worst = (all: readonly Severity[]): Severity => all.reduce((a, b) => (severities.indexOf(b) > severities.indexOf(a) ? b : a), 'info')

type Told = Pick<Alert, 'id' | 'title' | 'severity' | 'src' | 'dst' | 'techniques' | 'first_seen' | 'last_seen'>

// --- the course in time ---

export interface Mark<A extends Told> {
  alert: A
  /** Parts of the whole time, from 0 to 1. */
  from: number
  to: number
  /** Which row of its lane: marks that would lie over one another lie below one another. */
  row: number
}

export interface Lane<A extends Told> {
  /** A tactic; '' for alerts whose techniques the table does not know. */
  name: string
  rows: number
  marks: Mark<A>[]
}

export interface Course<A extends Told> {
  from: number
  to: number
  lanes: Lane<A>[]
  /** Alerts that found no room in their lane. */
  left: number
}

const maxRows = 6
/** A mark is at least this part of the whole, or nobody could see or hit it. */
const least = 0.022

/** Where each alert lies in time and in the kill chain. One with techniques of two tactics lies in two lanes. */
export function courseOf<A extends Told>(alerts: readonly A[], stages: readonly IncidentStage[]): Course<A> {
  const times = alerts.flatMap((a) => [Date.parse(a.first_seen), Date.parse(a.last_seen)])
  const from = Math.min(...times)
  const to = Math.max(...times, from + 1000)
  const lane = new Map(stages.flatMap((s) => s.techniques.map((technique) => [technique.id, placeOf(s.name)] as const)))
  const part = (time: string) => ((Date.parse(time) - from) / (to - from)) * (1 - least)
  const lanes: Lane<A>[] = []
  let left = 0
  for (const name of [...stageNames(stages), '']) {
    const inIt = alerts.filter((a) => {
      const known = a.techniques.map((id) => lane.get(id)).filter((l) => l !== undefined)
      return name === '' ? known.length === 0 : known.includes(name)
    })
    if (inIt.length === 0) continue
    const ends: number[] = []
    const marks: Mark<A>[] = []
    for (const alert of inIt.toSorted((a, b) => a.first_seen.localeCompare(b.first_seen) || a.id.localeCompare(b.id))) {
      const begin = part(alert.first_seen)
      const end = Math.max(part(alert.last_seen), begin) + least
      let row = ends.findIndex((e) => e <= begin)
      if (row < 0) row = ends.length
      if (row >= maxRows) {
        left++
        continue
      }
      ends[row] = end
      marks.push({ alert, from: begin, to: end, row })
    }
    lanes.push({ name, rows: ends.length, marks })
  }
  return { from, to, lanes, left }
}

/** Moments for an axis, at most `most`, at round times between the ends. */
export function ticksOf(from: number, to: number, most: number): number[] {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800].map((s) => s * 1000)
  const step = steps.find((s) => (to - from) / s <= most) ?? steps.at(-1)!
  const ticks: number[] = []
  for (let at = Math.ceil(from / step) * step; at <= to && ticks.length <= 50; at += step) ticks.push(at)
  return ticks
}

// --- who did what to whom ---

/** An account that the logins behind alerts name, with those among whose logins one was successful and those among whose none was. */
export type Account = IncidentDetail['accounts'][number]

/** Accounts that say something in a picture: somebody got in with them, or several alerts tried them. */
const maxAccounts = 6
const telling = (accounts: readonly Account[]): Account[] =>
  accounts.filter((a) => a.got_in.length > 0 || a.tried.length > 1)
    .toSorted((a, b) => b.got_in.length - a.got_in.length || b.tried.length - a.tried.length || a.name.localeCompare(b.name)).slice(0, maxAccounts)

/** Who tried which account, and where somebody got in with it. */
function accountLinks(alerts: readonly Told[], accounts: readonly Account[]): Link[] {
  const links = new Map<string, Link>()
  const add = (from: string, to: string, a: Told) => {
    if (from === '' || to === '') return
    const key = `${from}\n${to}`
    const link = links.get(key) ?? { from, to, techniques: [], severity: 'info' as Severity, alerts: [] }
    links.set(key, link)
    link.alerts.push(a.id)
    link.severity = worst([link.severity, a.severity])
  }
  for (const account of telling(accounts)) {
    for (const a of alerts) {
      const inside = account.got_in.includes(a.id)
      if (inside || account.tried.includes(a.id)) add(hostOf(a.src), account.name, a)
      if (inside) add(account.name, hostOf(a.dst), a)
    }
  }
  return [...links.values()]
}

export interface GraphNode {
  host: string
  role: 'attacker' | 'pivot' | 'target'
  kind: HostKind
  device?: string
  alerts: number
  x: number
  y: number
  /** What it did without a target. */
  alone: Link | undefined
}

export interface Link {
  from: string
  to: string
  techniques: string[]
  severity: Severity
  alerts: string[]
}

export interface Graph {
  nodes: GraphNode[]
  links: Link[]
  width: number
  height: number
  /** Of each host's box. */
  nodeWidth: number
  /** Hosts that are not drawn. */
  left: number
}

export const nodeHeight = 38
/** On a narrow screen two columns fit, without words between them. */
const sizes = { wide: { nodeWidth: 172, columnGap: 170 }, narrow: { nodeWidth: 136, columnGap: 44 } }
const rowGap = 22
const maxNodes = 30

/** What each host did to each other, riskiest first. '' is "several hosts". */
export function linksOf(alerts: readonly Told[]): Link[] {
  const links = new Map<string, Link>()
  for (const a of alerts.toSorted((x, y) => x.id.localeCompare(y.id))) {
    const from = hostOf(a.src)
    const to = hostOf(a.dst) || from
    const key = `${from}\n${to}`
    const link = links.get(key) ?? { from, to, techniques: [], severity: 'info' as Severity, alerts: [] }
    links.set(key, link)
    link.alerts.push(a.id)
    link.severity = worst([link.severity, a.severity])
    for (const id of a.techniques) if (!link.techniques.includes(id)) link.techniques.push(id)
  }
  for (const link of links.values()) link.techniques.sort()
  return [...links.values()].sort((a, b) => severities.indexOf(b.severity) - severities.indexOf(a.severity) || b.alerts.length - a.alerts.length || a.from.localeCompare(b.from) || a.to.localeCompare(b.to))
}

/** Lays the hosts out in columns: who begins at the left, what is done to at the right, those between by how far the attack had gone. */
export function graphOf(alerts: readonly Told[], entities: Incident['entities'], size: keyof typeof sizes = 'wide', accounts: readonly Account[] = []): Graph {
  const { nodeWidth, columnGap } = sizes[size]
  const named = new Set(accounts.map((a) => a.name))
  const links = [...linksOf(alerts), ...accountLinks(alerts, accounts)]
  const known = new Map(entities.map((e) => [e.host, e]))
  const hosts = [...new Set(links.flatMap((l) => [l.from, l.to]))]
  const weight = (host: string) => known.get(host)?.alerts ?? links.filter((l) => l.from === host || l.to === host).reduce((n, l) => n + l.alerts.length, 0)
  const ranked = hosts.toSorted((a, b) => weight(b) - weight(a) || a.localeCompare(b))
  const drawn = ranked.slice(0, maxNodes)
  const inside = links.filter((l) => l.from !== l.to && drawn.includes(l.from) && drawn.includes(l.to))
  const column = columnsOf(drawn, inside)
  const columns: string[][] = []
  for (const host of drawn) (columns[column.get(host)!] ??= []).push(host)
  settle(columns, inside)
  const tallest = Math.max(1, ...columns.map((c) => c.length))
  const height = tallest * (nodeHeight + rowGap) - rowGap + 20
  const nodes = columns.flatMap((list, c) => list.map((host, row): GraphNode => {
    const e = known.get(host)
    const acts = links.some((l) => l.from === host && l.from !== l.to)
    const suffers = links.some((l) => l.to === host && l.from !== l.to)
    return {
      host, role: e?.role ?? (acts && suffers ? 'pivot' : suffers ? 'target' : 'attacker'), kind: named.has(host) ? 'account' : kindOf(host), device: e?.device, alerts: weight(host),
      x: c * (nodeWidth + columnGap) + 2,
      y: 10 + ((height - 20 - (list.length * (nodeHeight + rowGap) - rowGap)) / 2) + row * (nodeHeight + rowGap),
      alone: links.find((l) => l.from === host && l.to === host),
    }
  }))
  return { nodes, links: inside, width: columns.length * (nodeWidth + columnGap) - columnGap + 4, height, nodeWidth, left: hosts.length - drawn.length }
}

/** How many steps from one who was not attacked himself; at most three columns follow the first. */
function columnsOf(hosts: readonly string[], links: readonly Link[]): Map<string, number> {
  const column = new Map<string, number>()
  const begins = hosts.filter((h) => !links.some((l) => l.to === h))
  let edge = begins.length > 0 ? begins : hosts.slice(0, 1)
  for (let c = 0; edge.length > 0; c++) {
    for (const host of edge) column.set(host, Math.min(c, 3))
    edge = hosts.filter((h) => !column.has(h) && links.some((l) => l.to === h && edge.includes(l.from)))
    // A ring that nobody outside leads into begins anywhere.
    if (edge.length === 0) {
      const rest = hosts.find((h) => !column.has(h))
      if (rest !== undefined) {
        edge = [rest]
        c = -1
      }
    }
  }
  return column
}

/** Orders each column by where its neighbours are, so that few lines cross. */
function settle(columns: string[][], links: readonly Link[]): void {
  for (let sweep = 0; sweep < 4; sweep++) {
    const at = new Map(columns.flatMap((list) => list.map((host, row) => [host, row / Math.max(1, list.length - 1)] as const)))
    for (const list of columns) {
      const middle = (host: string) => {
        const near = links.filter((l) => l.from === host || l.to === host).map((l) => at.get(l.from === host ? l.to : l.from)!)
        return near.length === 0 ? at.get(host)! : near.reduce((a, b) => a + b, 0) / near.length
      }
      list.sort((a, b) => middle(a) - middle(b) || a.localeCompare(b))
    }
  }
}

// --- suppressing ---

/** The network that a host is usually in: /24 or /64. Undefined for what is no address. */
export function networkOf(host: string): string | undefined {
  const v4 = /^(\d+)\.(\d+)\.(\d+)\.\d+$/.exec(host)
  if (v4) return `${v4[1]}.${v4[2]}.${v4[3]}.0/24`
  return /^[0-9a-f:]+$/i.test(host) && host.split(':').length > 2 && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(host) ? `${host}/64` : undefined
}
