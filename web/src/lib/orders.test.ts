import { expect, test } from 'vitest'
import { isOpen, progressOf, readArgs } from './orders'

test('progress is told in the order in which commands go', () => {
  expect(progressOf({ failed: 1, done: 3, queued: 2, sent: 0 })).toEqual([
    { state: 'queued', count: 2 }, { state: 'done', count: 3 }, { state: 'failed', count: 1 },
  ])
})

test('an order is open while a command waits or is carried out', () => {
  expect(isOpen({ done: 3 })).toBe(false)
  expect(isOpen({ done: 3, sent: 1 })).toBe(true)
  expect(isOpen({ waiting: 1 })).toBe(true)
})

test('arguments are an object, or nothing', () => {
  expect(readArgs(' ')).toBeUndefined()
  expect(readArgs('{"a":1}')).toEqual({ a: 1 })
  for (const bad of ['{', '5', '[1]', 'null', '"x"']) expect(readArgs(bad)).toBeNull()
})
