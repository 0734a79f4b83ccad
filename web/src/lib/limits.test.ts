import { describe, expect, it } from 'vitest'
import { limitValues, readLimits, standingLimits } from './limits'

const none = { memory: '', cpu: '', deadline: '', records_per_second: '' }
const now = (more = {}) => ({ memory_bytes: 512 * 2 ** 20, cpu: 0.5, deadline_seconds: 90, records_per_second: 100_000, open_files: 1024, log_lines_per_second: 50, ...more })

describe('limits', () => {
  it('are read as they are stored', () => {
    expect(readLimits({ memory: ' 64Mi', cpu: 1.5, deadline: '1m30s', records_per_second: '2000' }))
      .toEqual({ limits: { memory: '64Mi', cpu: 1.5, deadline: '1m30s', records_per_second: 2000 }, problems: [] })
    expect(readLimits(none)).toEqual({ limits: undefined, problems: [] })
    expect(readLimits(limitValues({ memory: '1Gi', cpu: 2 }))).toEqual({ limits: { memory: '1Gi', cpu: 2 }, problems: [] })
  })

  it.each([['64 MiB', '64Mi'], ['2GiB', '2Gi'], ['1048576', '1048576'], ['512Ki', '512Ki']])('take %s as a size', (typed, sent) => {
    expect(readLimits({ ...none, memory: typed })).toEqual({ limits: { memory: sent }, problems: [] })
  })

  it.each([
    ['memory', '0Mi'], ['memory', '64M'], ['memory', '-1Mi'], ['memory', '1.5Gi'], ['memory', '2147483648Ki'], ['memory', 'much'],
    ['cpu', 0], ['cpu', 2000], ['cpu', 'x'], ['deadline', '30'], ['deadline', 'soon'], ['deadline', '-1s'],
    ['records_per_second', 0], ['records_per_second', 1.5], ['records_per_second', 1e9],
  ])('of %s refuse %s', (name, value) => {
    expect(readLimits({ ...none, [name]: value }).problems).toEqual([name])
  })

  it('that the form does not show stay', () => {
    expect(readLimits(none, { open_files: 64, log_lines_per_second: 5, cpu: 3 })).toEqual({ limits: { open_files: 64, log_lines_per_second: 5 }, problems: [] })
  })

  it('that hold now are shown as they would be typed', () => {
    expect(standingLimits(now(), undefined)).toEqual({ memory: '512Mi', cpu: '0.5', deadline: '1m30s', records_per_second: '100000' })
    expect(standingLimits(now({ memory_bytes: 2 ** 31, deadline_seconds: 0.25 }), {})).toMatchObject({ memory: '2Gi', deadline: '250ms' })
    expect(standingLimits(now({ memory_bytes: 1000, deadline_seconds: 60 }), {})).toMatchObject({ memory: '1000', deadline: '1m' })
  })

  it('that were set hide what the manifest states', () => {
    expect(standingLimits(now(), { memory: '1Gi' })).toMatchObject({ memory: '', cpu: '0.5' })
    expect(standingLimits(now({ deadline_seconds: 0 }), undefined)).toMatchObject({ deadline: '' })
    expect(standingLimits(undefined, undefined)).toEqual(none)
  })
})
