// What the marketplace pages work out for themselves: the order of checks, what changed between two versions. Nothing here decides what may run.
import type { Card, Gate, GateState, Hit, Release, Rollout } from '../api/market'
import { tiers } from './marketAddress'
import { compareVersions } from './versions'

/** [value, count] of a facet, the most frequent first; what is chosen stays in the list even when nothing has it. */
export function facetEntries(facet: Record<string, number> | undefined, chosen: string | undefined, most: number): [string, number][] {
  const sorted = Object.entries(facet ?? {}).toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  const shown = sorted.slice(0, most)
  if (chosen && !shown.some(([v]) => v === chosen)) shown.push([chosen, facet?.[chosen] ?? 0])
  return shown
}

const gateRank: readonly GateState[] = ['failed', 'warning', 'not checked', 'passed']

/** Anything that is not known to have passed is treated as not checked. */
export const gateState = (g: Pick<Gate, 'state'>): GateState => (gateRank.includes(g.state) ? g.state : 'not checked')

/** What needs a look comes first. */
export function gatesWorstFirst(gates: readonly Gate[]): Gate[] {
  return gates.toSorted((a, b) => gateRank.indexOf(gateState(a)) - gateRank.indexOf(gateState(b)))
}

export function gateCounts(gates: readonly Gate[]): Record<GateState, number> {
  const counts: Record<GateState, number> = { failed: 0, warning: 0, 'not checked': 0, passed: 0 }
  for (const g of gates) counts[gateState(g)]++
  return counts
}

/** A card can praise a release no further than its checks went, whatever it says. */
export function tierOf(card: Pick<Card, 'tier' | 'gates'>): Card['tier'] {
  const said = tiers.indexOf(card.tier)
  const counts = gateCounts(card.gates)
  const best = counts.failed > 0 ? 'none' : counts['not checked'] > 0 ? 'bronze' : counts.warning > 0 ? 'silver' : 'gold'
  return said < 0 ? 'none' : tiers[Math.max(said, tiers.indexOf(best))]!
}

/** The sections of a change log from after one version up to another, newest first as they stand there. */
export function changesBetween(changelog: string, from: string, to: string): string {
  const kept: string[] = []
  let keep = false
  for (const line of changelog.replaceAll('\r\n', '\n').split('\n')) {
    const version = /^#{1,3}\s+\[?v?(\d+\.\d+\.\d+[^\s\]]*)/.exec(line)?.[1]
    if (version) keep = compareVersions(version, from) > 0 && compareVersions(version, to) <= 0
    else if (/^#{1,2}\s/.test(line)) keep = false
    if (keep) kept.push(line)
  }
  return kept.join('\n').trim()
}

/** What an installed plugin can go to, if there is something newer that nobody withdrew. */
export function updateOf(hit: Pick<Hit, 'version' | 'installed' | 'yanked' | 'revoked'>): string | null {
  const here = hit.installed?.version
  if (!here || hit.yanked || hit.revoked) return null
  return compareVersions(hit.version, here) > 0 ? hit.version : null
}

/** The newest release that somebody new should get. */
export function newestOf(releases: readonly Pick<Release, 'version' | 'channel' | 'yanked' | 'revoked'>[]): string | null {
  const offered = releases.filter((r) => r.channel === 'stable' && !r.yanked && !r.revoked).map((r) => r.version)
  return offered.toSorted((a, b) => compareVersions(b, a))[0] ?? null
}

/** How much of a rollout is done: nodes at the new version, of all. */
export function rolloutProgress(r: Pick<Rollout, 'nodes'>): { done: number; failed: number; total: number } {
  const is = (state: string) => r.nodes.filter((n) => n.state === state).length
  return { done: is('updated'), failed: is('failed') + is('going back') + is('rolled back'), total: r.nodes.length }
}

export type RolloutDeedName = 'pause' | 'resume' | 'halt' | 'finish'

/** What can be done with a rollout in its state. */
export function rolloutDeeds(state: Rollout['state']): RolloutDeedName[] {
  switch (state) {
    case 'canary':
      return ['pause', 'finish', 'halt']
    case 'rolling':
      return ['pause', 'halt']
    case 'paused':
      return ['resume', 'finish', 'halt']
    case 'waiting':
      return ['resume', 'halt']
    default:
      return []
  }
}

/** A digest or key id, short enough to compare by eye. */
export const short = (digest: string): string => (digest.length > 20 ? `${digest.slice(0, 8)}…${digest.slice(-6)}` : digest)

/** The namespace of an id is who publishes it. */
export const namespaceOf = (id: string): string => id.split('/')[0] ?? ''

/** A README without what its page says already: its title, a section that is only the name, and a heading of its own. */
export function whatItDoes(readme: string, heading: string): string {
  const text = readme.replaceAll('\r\n', '\n').replace(/^\s*# .*\n/, '').replace(/^\s*## Name\n[\s\S]*?(?=^## )/m, '')
  const [, first = '', rest = ''] = /^\s*##? (.*)\n([\s\S]*)$/.exec(text) ?? []
  return first.trim() === heading ? rest : text
}

/** Whose configuration a rollout brings. */
export function configOf(r: Pick<Rollout, 'target' | 'nodes'>): { of: 'all' | 'group' | 'machine'; name: string } | undefined {
  if (!r.target) return undefined
  if (r.target === 'agents') return { of: 'all', name: '' }
  if (r.target.startsWith('group:')) return { of: 'group', name: r.target.slice('group:'.length) }
  return { of: 'machine', name: r.nodes.find((n) => n.id === r.target)?.name || r.target }
}
