// The ATT&CK matrix of this server: what alerts name and what enabled detectors watch for, by tactic.
import { severities, type Plugin, type Severity } from '../api/types'
import { allTechniques, domainOf, parentOf, placesOf, tacticsOf, type Domain, type Tactic } from './techniques'

export type TechniqueCounts = readonly { id: string; alerts: Partial<Record<string, number>>; incidents?: number }[]
type Watching = Pick<Plugin, 'id' | 'title' | 'kind' | 'enabled' | 'techniques'> & { rules: readonly Pick<Plugin['rules'][number], 'techniques'>[] }

export interface Cell {
  id: string
  /** Alerts that name it or what is below it. */
  alerts: number
  worst?: Severity
  /** Incidents that such alerts belong to. */
  incidents: number
  /** Enabled detectors that watch for it, or for what is below it. */
  watchers: { id: string; title: string }[]
  below: Cell[]
}

export interface Column {
  /** Without one: techniques that the table does not know. */
  tactic?: Tactic
  cells: Cell[]
}

/** The columns of a matrix. Techniques that nobody names or watches for are only there when `all` are wanted. */
export function matrixOf(domain: Domain, counts: TechniqueCounts, plugins: readonly Watching[], all: boolean): Column[] {
  const cells = new Map<string, Cell>()
  const cell = (id: string): Cell => {
    const known = cells.get(id)
    if (known) return known
    const fresh: Cell = { id, alerts: 0, incidents: 0, watchers: [], below: [] }
    cells.set(id, fresh)
    const parent = parentOf(id)
    if (parent !== id) cell(parent).below.push(fresh)
    return fresh
  }
  if (all) for (const id of allTechniques(domain)) cell(id)
  for (const { id, alerts, incidents } of counts) {
    if (domainOf(id) !== domain) continue
    const c = cell(id)
    c.alerts = Object.values(alerts).reduce<number>((a, b) => a + (b ?? 0), 0)
    c.incidents = incidents ?? 0
    c.worst = severities.toReversed().find((s) => (alerts[s] ?? 0) > 0)
  }
  for (const p of plugins) {
    if (p.kind !== 'detector' || !p.enabled) continue
    for (const id of new Set([...p.techniques, ...p.rules.flatMap((r) => r.techniques)].flatMap((t) => [t, parentOf(t)]))) {
      if (domainOf(id) === domain) cell(id).watchers.push({ id: p.id, title: p.title || p.id })
    }
  }
  const columns: Column[] = tacticsOf(domain).map((tactic) => ({ tactic, cells: [] }))
  const unknown: Column = { cells: [] }
  for (const c of cells.values()) {
    c.below.sort(byId)
    if (parentOf(c.id) !== c.id) continue
    const places = placesOf(c.id)
    if (places.length === 0) unknown.cells.push(c)
    for (const n of places) columns[n]!.cells.push(c)
  }
  for (const column of [...columns, unknown]) column.cells.sort((a, b) => rank(b) - rank(a) || byId(a, b))
  return unknown.cells.length > 0 ? [...columns, unknown] : columns
}

const byId = (a: Cell, b: Cell): number => (a.id < b.id ? -1 : 1)
/** What alerts name stands first, then what is watched. */
const rank = (c: Cell): number => (c.alerts > 0 ? 2 : c.watchers.length > 0 ? 1 : 0)

/** How many techniques alerts name, and how many are watched, each once. */
export function totals(columns: readonly Column[]): { named: number; watched: number } {
  const cells = new Set(columns.flatMap((c) => c.cells))
  return { named: [...cells].filter((c) => c.alerts > 0).length, watched: [...cells].filter((c) => c.watchers.length > 0).length }
}
