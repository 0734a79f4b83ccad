// What a permission could be misused for: not what the plugin does with it, but the most that it could.
import type { Permission } from '../api/types'

export type RiskLevel = 'low' | 'medium' | 'high'

/** The reasons, as keys of the catalogue. */
export type RiskReason =
  | 'dialAnywhere' | 'dialChosen' | 'dialYours' | 'listen' | 'raw' | 'unix' | 'readAll' | 'read' | 'write' | 'exec'
  | 'secret' | 'packets' | 'flows' | 'facts' | 'files' | 'devices' | 'load' | 'metrics' | 'state' | 'act' | 'unknown'

export interface Risk {
  level: RiskLevel
  reason: RiskReason
}

const fixed: Record<string, Risk> = {
  'net.listen': { level: 'medium', reason: 'listen' },
  'net.raw': { level: 'medium', reason: 'raw' },
  'unix.connect': { level: 'high', reason: 'unix' },
  'fs.write': { level: 'high', reason: 'write' },
  exec: { level: 'high', reason: 'exec' },
  'secret.read': { level: 'low', reason: 'secret' },
  'packets.read': { level: 'medium', reason: 'packets' },
  'flows.read': { level: 'low', reason: 'flows' },
  'facts.read': { level: 'medium', reason: 'facts' },
  'files.read': { level: 'medium', reason: 'files' },
  'devices.read': { level: 'low', reason: 'devices' },
  'host.metrics': { level: 'low', reason: 'load' },
  'metrics.read': { level: 'low', reason: 'metrics' },
  state: { level: 'low', reason: 'state' },
  act: { level: 'high', reason: 'act' },
}

const everywhere = /^(\*|0\.0\.0\.0\/0|::\/0)(:|$)/

export function riskOf(p: Pick<Permission, 'cap' | 'args'>): Risk {
  if (p.cap === 'net.dial') {
    const to = p.args?.to
    if (!to || to.some((t) => everywhere.test(t))) return { level: 'high', reason: 'dialAnywhere' }
    // What refers to a setting reaches what its operator writes there, and nothing else.
    return to.every((t) => t.startsWith('${config.')) ? { level: 'low', reason: 'dialYours' } : { level: 'medium', reason: 'dialChosen' }
  }
  if (p.cap === 'fs.read') {
    const paths = p.args?.paths
    return !paths || paths.includes('/') ? { level: 'high', reason: 'readAll' } : { level: 'medium', reason: 'read' }
  }
  return fixed[p.cap] ?? { level: 'high', reason: 'unknown' }
}

const ranks: readonly RiskLevel[] = ['low', 'medium', 'high']

export function highestRisk(permissions: readonly Pick<Permission, 'cap' | 'args'>[]): RiskLevel | null {
  if (permissions.length === 0) return null
  return ranks[Math.max(...permissions.map((p) => ranks.indexOf(riskOf(p).level)))]!
}
