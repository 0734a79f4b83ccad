import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import words from '../locales/traffic.en.json'
import { partsOf, unusualOf } from './features'

interface Field { name: string; type: string }
const schema = JSON.parse(readFileSync(new URL('../../../proto/records/flow.json', import.meta.url), 'utf8')) as { fields: Field[]; derived: Field[]; features: { fields: { name: string }[] } }
const all = [...[...schema.fields, ...schema.derived].filter((f) => f.type === 'f64'), ...schema.features.fields].map((f) => f.name)

test('every feature of the table has words of its own', () => {
  expect(all.length).toBeGreaterThan(120)
  const { base, way, stat } = words.traffic.flow.featureWords
  const seen = new Set<string>()
  for (const name of all) {
    const p = partsOf(name)
    expect(base, name).toHaveProperty(p.base)
    const said = [base[p.base as keyof typeof base], p.way && way[p.way], p.stat && stat[p.stat], p.n].join()
    expect(seen.has(said), `${name}: ${said}`).toBe(false)
    seen.add(said)
  }
})

test('a name comes apart', () => {
  expect(partsOf('fwd_len_mean')).toEqual({ base: 'len', way: 'fwd', stat: 'mean' })
  expect(partsOf('first_len_3')).toEqual({ base: 'first_len', n: 3 })
  expect(partsOf('byte_ratio')).toEqual({ base: 'byte_ratio' })
})

const feature = (name: string, value: number, p5 = 10, p95 = 20) => ({ name, value, p5, p50: (p5 + p95) / 2, p95 })

test('what stands out is far out, one of each family, and never many', () => {
  const names = (list: { name: string }[]) => list.map((f) => f.name)
  expect(unusualOf([feature('duration', 15), feature('turns', 21)])).toEqual([])
  expect(names(unusualOf([feature('fwd_len_min', 30), feature('fwd_len_max', 90), feature('fwd_payload_mean', 40), feature('rev_len_max', 35)]))).toEqual(['fwd_len_max', 'rev_len_max'])
  expect(names(unusualOf([feature('turns', 0), feature('syn_count', 1, 0, 0), feature('fin_count', 0, 0, 0)]))).toEqual(['syn_count', 'turns'])
  expect(unusualOf(all.map((name) => feature(name, 1e9)))).toHaveLength(8)
})
