import { describe, expect, it } from 'vitest'
import type { Ledger, Permission, Use } from '../api/types'
import { atLeast, limitRows, permissionRows } from './usage'

const use = (cap: string, detail: string, more: Partial<Use> = {}): Use => ({
  cap, detail, count: 1, denied: 0, bytes_in: 0, bytes_out: 0, first: '2026-01-01T00:00:00Z', last: '2026-01-01T00:00:00Z', ...more,
})
const dial = (args: Record<string, string[]>): Permission => ({ cap: 'net.dial', args })
const release = (used: Use[], unused: Permission[] = []) => ({ version: '1.0.0', digest: '', used, unused })

describe('permissions', () => {
  it('stand beside what was granted, in the order of the manifest', () => {
    const rows = permissionRows([dial({ to: ['${config.a}'] }), { cap: 'state' }, dial({ to: ['${config.b}'] })], [dial({ to: ['a.example:1'] }), dial({ to: ['b.example'] })])
    expect(rows.map((r) => r.granted?.args?.to?.[0])).toEqual(['a.example:1', undefined, 'b.example'])
    expect(rows.map((r) => r.asked?.cap)).toEqual(['net.dial', 'state', 'net.dial'])
  })

  it('give each use to the grant that covers it', () => {
    const grants = [
      dial({ proto: ['tcp'], to: ['a.example:443', '*.b.example'] }), dial({ proto: ['udp'], port: ['1-99'] }),
      { cap: 'fs.read', args: { paths: ['/proc'] } }, { cap: 'fs.read', args: { paths: ['/sys/'] } },
    ]
    const uses = [
      use('net.dial', 'tcp a.example:443'), use('net.dial', 'tcp4 x.b.example:25'), use('net.dial', 'udp [2001:db8::1]:53'),
      use('fs.read', '/proc/stat'), use('fs.read', '/sys/class'),
    ]
    const rows = permissionRows(grants, grants, release(uses))
    expect(rows.map((r) => r.uses.map((u) => u.detail))).toEqual([
      ['tcp a.example:443', 'tcp4 x.b.example:25'], ['udp [2001:db8::1]:53'], ['/proc/stat'], ['/sys/class'],
    ])
  })

  it('do not hide what was refused, asked for or not', () => {
    const refused = use('net.dial', 'tcp evil.example:1', { count: 0, denied: 3 })
    const rows = permissionRows([{ cap: 'flows.read' }], [{ cap: 'flows.read' }], release([refused]))
    expect(rows).toHaveLength(2)
    expect(rows[1]).toEqual({ uses: [refused], unused: false })
    const known = permissionRows([dial({ to: ['a'] })], [dial({ to: ['a'] })], release([refused]))
    expect(known).toHaveLength(1)
    expect(known[0]?.uses).toEqual([refused])
  })

  it('are marked when they were granted and never used', () => {
    const [a, b] = [dial({ to: ['a'], port: ['1'] }), dial({ to: ['b'] })]
    const rows = permissionRows([a, b], [a, b], release([], [{ cap: 'net.dial', args: { port: ['1'], to: ['a'] } }]))
    expect(rows.map((r) => r.unused)).toEqual([true, false])
  })
})

it('limits that are set are listed with what is known of them', () => {
  const ledger = { memory_bytes: 10, records_per_second: 2, dropped: 5, latency_p99_ms: 1500, log_dropped: 1 } as Ledger
  expect(limitRows({ memory_bytes: 64, cpu: 2, records_per_second: 4, deadline_seconds: 3, open_files: 9, log_lines_per_second: 7 }, ledger, 0.5)).toEqual([
    { name: 'memory', limit: 64, now: 10 },
    { name: 'cpu', limit: 2, now: 0.5 },
    { name: 'records', limit: 4, now: 2, hits: 5 },
    { name: 'deadline', limit: 3, now: 1.5 },
    { name: 'files', limit: 9 },
    { name: 'log', limit: 7, hits: 1 },
  ])
  expect(limitRows({}, ledger)).toEqual([])
})

it('a filter of the log shows what is at least as serious, and what it does not know', () => {
  const shown = ['debug', 'info', 'warn', 'error', 'fatal'].filter((l) => atLeast(l, 'warn'))
  expect(shown).toEqual(['warn', 'error', 'fatal'])
})
