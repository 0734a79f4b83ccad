import { expect, test } from 'vitest'
import { heard } from './heard'

const fact = (packet: number, text: string) => ({ packet, text, time: `2026-11-22T10:00:${String(packet).padStart(2, '0')}Z` })

test('what is announced again and again is one line, with the packets that say so', () => {
  expect(heard([fact(3, 'switch'), fact(1, 'switch'), fact(2, 'phone')], (f) => f)).toEqual([
    { text: 'switch', times: 2, packets: '1,3' },
    { text: 'phone', times: 1, packets: '2' },
  ])
})

test('a flood of announcements stays a short list', () => {
  const lines = heard(Array.from({ length: 900 }, (_, i) => fact(i, `mac ${i % 300}`)), (f) => f)
  expect(lines).toHaveLength(12)
  expect(heard([], (f: ReturnType<typeof fact>) => f)).toEqual([])
})
