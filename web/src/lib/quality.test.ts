import { expect, test } from 'vitest'
import type { CaptureQuality } from '../api/types'
import { isGood, layersOf, linkType, outcomesOf, understood } from './quality'

const quality = (more: Partial<CaptureQuality> = {}): CaptureQuality => ({ outcomes: { flow: 90 }, layers: {}, facts: 0, linktypes: [1], protocols: [], ...more })

test('outcomes stand in a fixed order, without what never happened', () => {
  expect(outcomesOf(quality({ outcomes: { unsupported: 1, 'not-ip': 4, later: 2, flow: 90, malformed: 0 } }))).toEqual([['flow', 90], ['not-ip', 4], ['unsupported', 1], ['later', 2]])
  expect(layersOf(quality({ layers: { udp: 3, tcp: 9, arp: 0 } }))).toEqual([['tcp', 9], ['udp', 3]])
})

test('a capture is good when nothing was lost', () => {
  expect(isGood(quality())).toBe(true)
  expect(isGood(quality({ fragments_joined: 7, secrets: 1 }))).toBe(true)
  for (const fault of [{ dropped: 1 }, { short: 1 }, { stream_gaps: 2 }, { panics: 1 }, { outcomes: { flow: 1, malformed: 1 } }, { notes: ['cut short'] }]) expect(isGood(quality(fault))).toBe(false)
})

test('shares and names', () => {
  expect(understood({ packets: 200, undecoded: 50 })).toBe(0.75)
  expect(understood({ packets: 0, undecoded: 0 })).toBe(0)
  expect(linkType(1)).toBe('Ethernet')
  expect(linkType(9999)).toBe('DLT 9999')
})
