import { expect, it } from 'vitest'
import type { LiveMessage } from '../api/types'
import { LiveChannel, type LiveSocket, type LiveStatus } from './channel'

/** A browser whose sockets and timers the test drives. */
function world() {
  const opened: { url: string; socket: LiveSocket }[] = []
  const timers: { run: () => void; ms: number; cancelled: boolean }[] = []
  const messages: LiveMessage[] = []
  const states: LiveStatus[] = []
  const channel = new LiveChannel(
    '/live',
    {
      open: (url) => {
        const socket: LiveSocket = { onopen: null, onmessage: null, onclose: null, close: () => socket.onclose?.() }
        opened.push({ url, socket })
        return socket
      },
      now: () => 1000,
      later: (run, ms) => timers.push({ run, ms, cancelled: false }) - 1,
      cancel: (i) => (timers[i]!.cancelled = true),
      random: () => 0.5,
    },
    (m) => messages.push(m),
    (s) => states.push(s),
  )
  const last = () => opened.at(-1)!
  return {
    channel,
    opened,
    timers,
    messages,
    states,
    accept: () => last().socket.onopen?.(),
    say: (m: unknown) => last().socket.onmessage?.({ data: typeof m === 'string' ? m : JSON.stringify(m) }),
    drop: () => last().socket.onclose?.(),
    fire: () => timers.at(-1)!.run(),
  }
}

it('resumes after the last message that it saw', () => {
  const w = world()
  w.channel.start()
  expect(w.opened[0]!.url).toBe('/live')
  w.accept()
  w.say({ id: 'a 1', topic: 'samples' })
  w.drop()
  expect(w.states.at(-1)?.state).toBe('down')
  w.fire()
  expect(w.opened[1]!.url).toBe('/live?since=a%201')
})

it('waits longer after each failure, at most half a minute, and starts over once connected', () => {
  const w = world()
  w.channel.start()
  const waits: number[] = []
  for (let i = 0; i < 8; i++) {
    w.drop()
    waits.push(w.timers.at(-1)!.ms)
    w.fire()
  }
  expect(waits).toEqual([750, 1500, 3000, 6000, 12000, 22500, 22500, 22500])
  w.accept()
  w.drop()
  expect(w.timers.at(-1)!.ms).toBe(750)
})

it('says when it was last in touch', () => {
  const w = world()
  w.channel.start()
  w.accept()
  w.drop()
  expect(w.states.at(-1)).toEqual({ state: 'down', seen: 1000 })
})

it('ignores what is not a message', () => {
  const w = world()
  w.channel.start()
  w.accept()
  w.say('not json')
  w.say('null')
  w.say({ id: 7 })
  expect(w.messages).toEqual([])
  w.say({ id: 7, topic: 'reset' })
  expect(w.messages).toEqual([{ id: 7, topic: 'reset' }])
})

it('stop is final: no timer fires, no socket returns', () => {
  const w = world()
  w.channel.start()
  w.drop()
  w.channel.stop()
  expect(w.timers.at(-1)!.cancelled).toBe(true)
  w.channel.retry()
  expect(w.opened).toHaveLength(1)
})

it('retry does not wait for the pause', () => {
  const w = world()
  w.channel.start()
  w.drop()
  w.channel.retry()
  expect(w.timers[0]!.cancelled).toBe(true)
  expect(w.opened).toHaveLength(2)
})
