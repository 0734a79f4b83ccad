import { expect, it } from 'vitest'
import { matrixOf, totals } from './matrix'

const plugin = (id: string, techniques: string[], more = {}) =>
  ({ id, title: id.toUpperCase(), kind: 'detector' as const, enabled: true, techniques, rules: [], ...more })

it('counts what alerts name and says who watches, by tactic', () => {
  const counts = [{ id: 'T1046', alerts: { high: 2, low: 1 } }, { id: 'T1071', alerts: { medium: 1 } }, { id: 'T1071.004', alerts: { medium: 1 } }, { id: 'T0846', alerts: { low: 9 } }]
  const plugins = [plugin('scan', ['T1018'], { rules: [{ techniques: ['T1046'] }] }), plugin('dns', ['T1071.004', 'T1071.001']), plugin('off', ['T1110'], { enabled: false }), plugin('ot', ['T0846'])]
  const columns = matrixOf('enterprise', counts, plugins, false)
  const of = (name: string) => columns.find((c) => c.tactic?.name === name)?.cells ?? []
  expect(columns).toHaveLength(14)
  expect(of('Discovery').map((c) => [c.id, c.alerts, c.worst, c.watchers.map((w) => w.title)])).toEqual([['T1046', 3, 'high', ['SCAN']], ['T1018', 0, undefined, ['SCAN']]])
  const [c2] = of('Command and Control')
  expect([c2?.id, c2?.alerts, c2?.watchers.length, c2?.below.map((b) => [b.id, b.alerts, b.watchers.length])]).toEqual(['T1071', 1, 1, [['T1071.001', 0, 1], ['T1071.004', 1, 1]]])
  expect(of('Credential Access')).toEqual([])
  expect(totals(columns)).toEqual({ named: 2, watched: 3 })
  expect(totals(matrixOf('ics', counts, plugins, false))).toEqual({ named: 1, watched: 1 })
})

it('shows what nobody watches when all are wanted, and ids it does not know in a column of their own', () => {
  const columns = matrixOf('enterprise', [{ id: 'T9999', alerts: { info: 1 } }, { id: 'constructor', alerts: { info: 1 } }], [], true)
  expect(columns[0]!.cells.length).toBeGreaterThan(5)
  expect(columns.at(-1)!.tactic).toBeUndefined()
  expect(columns.at(-1)!.cells.map((c) => c.id)).toEqual(['T9999', 'constructor'])
})
