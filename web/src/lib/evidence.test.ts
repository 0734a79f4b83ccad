import { describe, expect, it } from 'vitest'
import type { AlertEvidence, Finding } from '../api/types'
import { awaitsEvidence, keptWith } from './evidence'

const flow = (id: number, capture?: string) => ({ id, capture, community_id: '', proto: 'tcp', src: '', dst: '' })
const kept = (finding: string, packets: number) => ({ finding, packets, bytes: 0, matched: packets, missing: 0, time: '' })
const place = (over: Partial<AlertEvidence>): AlertEvidence => ({ agent: 'a', run: 'r', packets: [], flows: [], kept: [], ...over })
const last_seen = '2026-11-23T12:00:00Z'
const soon = Date.parse(last_seen) + 5000

describe('what may still come', () => {
  it('is looked for while packets or flows of live traffic are missing', () => {
    expect(awaitsEvidence({ last_seen, evidence: [place({})] }, soon)).toBe(true)
    expect(awaitsEvidence({ last_seen, evidence: [place({ kept: [kept('f', 1)], flows: [flow(1)] })] }, soon)).toBe(true)
    expect(awaitsEvidence({ last_seen, evidence: [place({ kept: [kept('f', 0)], flows: [flow(1, 'live-x'), flow(0)] })] }, soon)).toBe(false)
  })
  it('is not looked for in captures, in old alerts, and in those from before it was kept', () => {
    expect(awaitsEvidence({ last_seen, evidence: [place({ agent: undefined, capture_id: 'c', flows: [flow(1)] })] }, soon)).toBe(false)
    expect(awaitsEvidence({ last_seen, evidence: [place({})] }, soon + 3600_000)).toBe(false)
    expect(awaitsEvidence({ last_seen, evidence: [place({ run: undefined })] }, soon)).toBe(false)
  })
})

describe('the packets of a flow', () => {
  const findings = [{ id: 'one', flows: [flow(1)] }, { id: 'two', flows: [flow(2)] }, { id: 'three', flows: null }] as unknown as Finding[]
  const of = place({ kept: [kept('one', 3), kept('two', 0), kept('three', 5)] })
  it('are with the finding that names it and has packets', () => {
    expect(keptWith(of, findings, 1)).toBe('one')
    expect(keptWith(of, findings, 2)).toBeUndefined()
    expect(keptWith(of, findings, 3)).toBeUndefined()
  })
})
