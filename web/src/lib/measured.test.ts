import { describe, expect, it } from 'vitest'
import type { Series } from '../api/types'
import { countKnown, inTurn, linesOf, mostLines, rateUnit } from './measured'

const series = (labels: Record<string, string>, value: number | null): Series => ({ labels, points: [[0, value], [1000, value]] })

describe('what a plugin measures', () => {
  it('is a line for each series, named by what differs, the highest first', () => {
    const lines = linesOf([series({ host: 'a', port: '80' }, 1), series({ host: 'b', port: '80' }, 3), series({ host: 'c', port: '80' }, null)])
    expect(lines.map((l) => l.name)).toEqual(['b', 'a'])
  })

  it('shows no more lines than can be told apart, and says how many there are', () => {
    const many = Array.from({ length: 9 }, (_, n) => series({ n: `${n}` }, n))
    expect(linesOf(many).map((l) => l.name)).toEqual(['8', '7', '6', '5', '4'])
    expect(linesOf(many)).toHaveLength(mostLines)
    expect(countKnown([...many, series({ n: '9' }, null)])).toBe(9)
  })

  it('keeps lines apart that have the same labels', () => {
    expect(linesOf([series({}, 2), series({}, 1)]).map((l) => l.name)).toEqual(['', ' (2)'])
    expect(linesOf([])).toEqual([])
  })

  it('begins with one of each family; limits come last', () => {
    expect(inTurn(['s.cpu.a', 's.cpu.b', 's.disk.a', 's.memory.limit', 's.memory.usage', 's.cpu.c'])).toEqual(['s.cpu.a', 's.disk.a', 's.memory.usage', 's.cpu.b', 's.cpu.c', 's.memory.limit'])
  })

  it('has a unit per second', () => {
    expect(['By', '{packet}', 's', '1', ''].map(rateUnit)).toEqual(['By/s', '{packet}/s', '1', '{1}/s', '{1}/s'])
  })
})
