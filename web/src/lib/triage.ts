// Working through alerts: what a key means, what a word narrows them to, and how the list looks before the server has answered.
import type { Alert, AlertState, Severity } from '../api/types'
import { severities } from '../api/types'

export type Deed = 'next' | 'previous' | 'acknowledge' | 'resolve' | 'suppress' | 'filter' | 'help' | 'close'

/** The arrows are the list's own. */
const keys: Record<string, Deed> = { j: 'next', k: 'previous', a: 'acknowledge', r: 'resolve', s: 'suppress', '/': 'filter', '?': 'help', Escape: 'close' }

interface Key {
  key: string
  ctrlKey: boolean
  metaKey: boolean
  altKey: boolean
}

/** What a key means here; null when it is somebody else's. Single characters can be switched off (WCAG 2.1.4). */
export function deedOf(e: Key, characters: boolean): Deed | null {
  if (e.ctrlKey || e.metaKey || e.altKey || (e.key.length === 1 && !characters)) return null
  return Object.hasOwn(keys, e.key) ? keys[e.key]! : null
}

export type Words = Partial<Record<'technique' | 'detector' | 'entity', string>> & { severity?: Severity }

/** What somebody who types a word wants to see: a technique, a severity, a detector, or else an address or a name. */
export function narrowTo(word: string): Words {
  const text = word.trim()
  if (text === '') return {}
  if (/^t\d{4}(\.\d{3})?$/i.test(text)) return { technique: text.toUpperCase() }
  const severity = severities.find((s) => s === text.toLowerCase())
  if (severity) return { severity }
  if (/^[a-z][a-z0-9-]*\/[a-z0-9-]+$/.test(text)) return { detector: text }
  return { entity: text }
}

/** Alerts that were moved on, by id, until the server has said so. */
export type Moves = ReadonlyMap<string, AlertState>

/** The list as it will be: moved alerts in their new state, and not where only another state is shown. */
export function withMoves(items: readonly Alert[], moves: Moves, state: AlertState | 'all'): Alert[] {
  if (moves.size === 0) return items as Alert[]
  return items
    .map((a) => (moves.has(a.id) ? { ...a, state: moves.get(a.id)! } : a))
    .filter((a) => state === 'all' || a.state === state)
}

/** What can become of an alert: it is looked after, then ended. */
export const canMove = (a: Pick<Alert, 'state'>, to: 'acknowledge' | 'resolve'): boolean => (to === 'acknowledge' ? a.state === 'firing' : a.state !== 'resolved')
