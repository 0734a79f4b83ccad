import { expect, test, vi } from 'vitest'
import { UploadQueue, type Send } from './uploads'

interface Call {
  name: string
  progress: (fraction: number) => void
  done: () => void
  fail: (error: unknown) => void
  signal: AbortSignal
}

function queue() {
  const calls: Call[] = []
  const send: Send = (file, progress, signal) =>
    new Promise((resolve, reject) => {
      calls.push({ name: file.name, progress, signal, done: () => resolve(undefined), fail: reject })
      signal.addEventListener('abort', () => reject(new DOMException('stopped', 'AbortError')))
    })
  const stored = vi.fn()
  const q = new UploadQueue(send, stored)
  return { q, calls, stored, states: () => q.get().map((u) => `${u.name} ${u.state}`) }
}

const file = (name: string) => new File(['x'], name)
const settle = () => new Promise((done) => setTimeout(done))

test('two files are sent at a time, the next when one of them is stored', async () => {
  const { q, calls, stored, states } = queue()
  q.add(['a', 'b', 'c'].map(file))
  expect(states()).toEqual(['a sending', 'b sending', 'c waiting'])
  calls[1]!.done()
  await settle()
  expect(stored).toHaveBeenCalledTimes(1)
  expect(states()).toEqual(['a sending', 'c sending'])
  calls[0]!.done()
  calls[2]!.done()
  await settle()
  expect(states()).toEqual([])
  expect(stored).toHaveBeenCalledTimes(3)
})

test('a file that failed says why, stays, and can be sent again', async () => {
  const { q, calls, states } = queue()
  q.add(['a', 'b', 'c'].map(file))
  calls[0]!.fail(new Error('the disk is full'))
  await settle()
  expect(states()).toEqual(['a failed', 'b sending', 'c sending'])
  expect(q.get()[0]!.error).toEqual(new Error('the disk is full'))
  q.retry(0)
  expect(states()).toEqual(['a waiting', 'b sending', 'c sending'])
  expect(q.get()[0]!.error).toBeUndefined()
  calls[1]!.done()
  await settle()
  expect(states()).toEqual(['a sending', 'c sending'])
})

test('stopping ends the call, and the next file takes its place', async () => {
  const { q, calls, states } = queue()
  q.add(['a', 'b', 'c'].map(file))
  q.stop(0)
  expect(calls[0]!.signal.aborted).toBe(true)
  expect(states()).toEqual(['a stopped', 'b sending', 'c sending'])
  await settle()
  expect(q.get()[0]!.error).toBeUndefined()
  q.stopAll()
  expect(states()).toEqual(['a stopped', 'b stopped', 'c stopped'])
  q.dismiss(1)
  expect(states()).toEqual(['a stopped', 'c stopped'])
  q.dismissAll()
  expect(states()).toEqual([])
})

test('what an ended call still says is not heard', async () => {
  const { q, calls } = queue()
  q.add([file('a')])
  calls[0]!.progress(0.5)
  expect(q.get()[0]!.progress).toBe(0.5)
  q.stop(0)
  q.retry(0)
  calls[0]!.progress(0.9)
  await settle()
  expect(q.get()[0]!).toMatchObject({ state: 'sending', progress: 0 })
})

test('a running file is not dismissed, and the list changes only when something did', () => {
  const { q } = queue()
  q.add([file('a')])
  q.dismiss(0)
  expect(q.get()).toHaveLength(1)
  expect(q.get()).toBe(q.get())
  const heard = vi.fn()
  const leave = q.subscribe(heard)
  q.stop(0)
  leave()
  q.dismissAll()
  expect(heard).toHaveBeenCalledTimes(1)
})
