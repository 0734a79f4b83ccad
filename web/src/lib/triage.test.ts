import { expect, it } from 'vitest'
import type { Alert, AlertState } from '../api/types'
import { canMove, deedOf, narrowTo, withMoves } from './triage'

const press = (key: string, more = {}) => ({ key, ctrlKey: false, metaKey: false, altKey: false, ...more })
const alert = (id: string, state: AlertState = 'firing') => ({ id, state }) as Alert

it('knows its keys, and leaves those of the browser', () => {
  expect(['j', 'k', 'a', 'r', 's', '/', '?', 'Escape'].map((k) => deedOf(press(k), true))).toEqual(['next', 'previous', 'acknowledge', 'resolve', 'suppress', 'filter', 'help', 'close'])
  expect(deedOf(press('a', { ctrlKey: true }), true)).toBeNull()
  expect(deedOf(press('constructor'), true)).toBeNull()
})

it('keeps only keys that are no characters when those are switched off', () => {
  expect(['j', 'a', '/', '?'].map((k) => deedOf(press(k), false))).toEqual([null, null, null, null])
  expect(deedOf(press('Escape'), false)).toBe('close')
})

it('understands what a word narrows to', () => {
  expect(narrowTo(' t1071.004 ')).toEqual({ technique: 'T1071.004' })
  expect(narrowTo('High')).toEqual({ severity: 'high' })
  expect(narrowTo('picket/portscan')).toEqual({ detector: 'picket/portscan' })
  expect(narrowTo('10.0.0.0/8')).toEqual({ entity: '10.0.0.0/8' })
  expect(narrowTo('fe80::1')).toEqual({ entity: 'fe80::1' })
  expect(narrowTo('  ')).toEqual({})
})

it('shows moved alerts at once, and takes them back', () => {
  const items = [alert('a'), alert('b'), alert('c')]
  const moves = new Map([['b', 'acknowledged' as const]])
  expect(withMoves(items, moves, 'firing').map((a) => a.id)).toEqual(['a', 'c'])
  expect(withMoves(items, moves, 'all').map((a) => a.state)).toEqual(['firing', 'acknowledged', 'firing'])
  expect(withMoves(items, new Map(), 'firing')).toBe(items)
})

it('moves only forward', () => {
  expect(canMove(alert('a', 'acknowledged'), 'acknowledge')).toBe(false)
  expect(canMove(alert('a', 'acknowledged'), 'resolve')).toBe(true)
  expect(canMove(alert('a', 'resolved'), 'resolve')).toBe(false)
})
