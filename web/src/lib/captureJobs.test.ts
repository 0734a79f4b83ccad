import { expect, test } from 'vitest'
import { canDo, deedsFor, forEach } from './captureJobs'

const in_ = (...states: string[]) => states.map((state) => ({ state })) as Parameters<typeof deedsFor>[0]

test('what is offered fits the states', () => {
  expect(deedsFor(in_('running'), true)).toEqual(['cancel', 'delete'])
  expect(deedsFor(in_('queued'), false)).toEqual(['cancel', 'first'])
  expect(deedsFor(in_('stopped', 'done'), true)).toEqual(['resume', 'analyse', 'delete'])
  expect(deedsFor(in_('failed'), false)).toEqual(['resume'])
  expect(deedsFor([], true)).toEqual([])
  expect(canDo('analyse', { state: 'failed' })).toBe(true)
  expect(canDo('cancel', { state: 'done' })).toBe(false)
  expect(canDo('delete', { state: 'running' })).toBe(true)
})

test('one refusal does not keep the others from it, and is told', async () => {
  const asked: string[] = []
  const outcome = await forEach(['a', 'b', 'c'], async (id) => {
    asked.push(id)
    if (id !== 'c') throw new Error(id)
  })
  expect(asked).toEqual(['a', 'b', 'c'])
  expect(outcome).toEqual({ done: 1, error: new Error('a') })
  expect(await forEach([], async () => undefined)).toEqual({ done: 0 })
})
