// What a plugin asked for, what was granted and what it used, side by side; and how near it is to its limits.
import type { Explanation, Ledger, Permission, ProcessLimits, Use } from '../api/types'

export interface PermissionRow {
  /** undefined: it tried something of a kind that it never asked for. */
  asked?: Permission
  /** As it was granted, with the configuration filled in. */
  granted?: Permission
  uses: Use[]
  /** The broker sees every use of it, and there was none. */
  unused: boolean
}

/** Uses of these kinds pass through the broker, so that none goes unseen. */
const observed = new Set(['net.dial', 'net.listen', 'net.raw', 'unix.connect', 'fs.read'])
export const isObserved = (cap: string): boolean => observed.has(cap)

/**
 * One row for each permission that was asked for. The order of grants of one kind is that of the manifest, since kinds
 * are granted as a whole.
 */
export function permissionRows(asked: readonly Permission[], granted: readonly Permission[], release?: Explanation['release']): PermissionRow[] {
  const left = [...granted]
  const rows: PermissionRow[] = asked.map((p) => {
    const at = left.findIndex((g) => g.cap === p.cap)
    const grant = at < 0 ? undefined : left.splice(at, 1)[0]
    return { asked: p, granted: grant, uses: [], unused: false }
  })
  rows.push(...left.map((g): PermissionRow => ({ granted: g, uses: [], unused: false })))
  for (const use of release?.used ?? []) {
    const same = rows.filter((r) => (r.asked ?? r.granted)?.cap === use.cap)
    const row = same.find((r) => r.granted && covers(r.granted, use.detail)) ?? same[0]
    if (row) row.uses.push(use)
    else rows.push({ uses: [use], unused: false })
  }
  const unused = (release?.unused ?? []).map(key)
  for (const row of rows) row.unused = row.granted !== undefined && unused.includes(key(row.granted))
  return rows
}

const key = (p: Permission): string => JSON.stringify([p.cap, Object.entries(p.args ?? {}).toSorted(([a], [b]) => (a < b ? -1 : 1))])

/** Whether a use looks like one of this grant, to choose between several of one kind; the node has decided already. */
function covers(p: Permission, detail: string): boolean {
  const [first = '', rest = ''] = detail.split(' ')
  const args = p.args ?? {}
  if (p.cap === 'fs.read') return (args.paths ?? ['/']).some((root) => detail === root || detail.startsWith(root.endsWith('/') ? root : `${root}/`))
  if (p.cap === 'unix.connect') return (args.path ?? [detail]).includes(detail)
  if (args.proto && !args.proto.includes(first.replace(/[46]$/, ''))) return false
  const colon = rest.lastIndexOf(':')
  const [host, port] = [rest.slice(0, colon).replace(/^\[|\]$/g, ''), Number(rest.slice(colon + 1))]
  if (args.port && !args.port.some((range) => within(range, port))) return false
  return !args.to || args.to.some((to) => to === host || to === rest || (to.startsWith('*.') && host.endsWith(to.slice(1))))
}

function within(range: string, port: number): boolean {
  const [from = '', to = from] = range.split('-')
  return port >= Number(from) && port <= Number(to)
}

export interface LimitRow {
  name: 'memory' | 'cpu' | 'records' | 'files' | 'log' | 'deadline'
  limit: number
  /** undefined where nobody measures it. */
  now?: number
  /** What was refused or held back because of it. */
  hits?: number
}

/** The limits that an instance has, and where it stands. `cpu` is its use of the last moments in cores. */
export function limitRows(limits: ProcessLimits, ledger: Ledger, cpu?: number): LimitRow[] {
  const rows: (LimitRow | false | undefined)[] = [
    !!limits.memory_bytes && { name: 'memory', limit: limits.memory_bytes, now: ledger.memory_bytes },
    !!limits.cpu && { name: 'cpu', limit: limits.cpu, now: cpu },
    !!limits.records_per_second && { name: 'records', limit: limits.records_per_second, now: ledger.records_per_second, hits: ledger.dropped },
    !!limits.deadline_seconds && { name: 'deadline', limit: limits.deadline_seconds, now: ledger.latency_p99_ms / 1000 },
    !!limits.open_files && { name: 'files', limit: limits.open_files },
    !!limits.log_lines_per_second && { name: 'log', limit: limits.log_lines_per_second, hits: ledger.log_dropped },
  ]
  return rows.filter((r): r is LimitRow => !!r)
}

export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** Whether a line is at least this serious. A level that nobody knows is shown always. */
export function atLeast(level: string, least: LogLevel): boolean {
  const rank = (logLevels as readonly string[]).indexOf(level)
  return rank < 0 || rank >= logLevels.indexOf(least)
}
