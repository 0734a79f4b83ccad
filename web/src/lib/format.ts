// Numbers, sizes and times as people read them. Everything takes what it needs as an argument, so tests need no clock.
import { runs } from './packetNumbers'

const english = 'en'

/** 1536 → "1.5 KiB". Binary units, because memory and disks are reported in them. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let unit = 0
  let rest = Math.abs(value)
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024
    unit++
  }
  // 1023.96 would print as "1024": that belongs to the next unit.
  if (unit < units.length - 1 && Math.round(rest) >= 1024) {
    rest /= 1024
    unit++
  }
  return `${value < 0 ? '−' : ''}${digits(rest)} ${units[unit]}`
}

/** Three significant digits, no trailing zeros: 0.0342, 3.42, 34.2, 342, 3420. */
function digits(value: number): string {
  if (value === 0) return '0'
  if (value >= 100) return String(Math.round(value))
  return String(Number(value.toPrecision(value >= 1 ? 3 : 2)))
}

export const bytesPerSecond = (value: number): string => `${bytes(value)}/s`

/** 0.1234 → "12.3 %" with a thin space, as the SI brochure has it. */
export function percent(ratio: number): string {
  const value = ratio * 100
  const text = Math.abs(value) >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)
  return `${text}\u202f%`
}

/** A share from 0 to 1 as whole percent. */
export const wholePercent = (ratio: number): string => `${Math.round(ratio * 100)}\u202f%`

export function count(value: number): string {
  return value.toLocaleString(english)
}

/** Any number in the evidence: integers with separators, others with up to four digits after the point. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(2)
  return value.toLocaleString(english, { maximumFractionDigits: Math.abs(value) >= 100 ? 1 : 4 })
}

/** A value with its UCUM unit. */
export function quantity(value: number, unit: string): string {
  switch (unit) {
    case 'By':
      return bytes(value)
    case 'By/s':
      return bytesPerSecond(value)
    case '1':
      return percent(value)
    case '%':
      return percent(value / 100)
    case 's':
      return duration(value)
    default:
      // A rate of things is never exact to the last digit.
      if (unit.startsWith('{') && unit.endsWith('/s')) return value >= 100 ? count(Math.round(value)) : digits(value)
      return unit === '' || unit.startsWith('{') ? number(value) : `${number(value)} ${unit}`
  }
}

/**
 * A value beside the axis of a chart, where it must not be rounded: half of 0.1 % is 0.05 %, and never "0.1 %" a second
 * time. Three significant digits are enough, because the steps of an axis are round.
 */
export function axisValue(value: number, unit: string): string {
  const exact = (n: number) => n.toLocaleString(english, { maximumSignificantDigits: 3 })
  const size = Math.abs(value)
  if (value === 0) return quantity(0, unit)
  switch (unit) {
    case 'By':
    case 'By/s':
      return quantity(value, unit)
    case '1':
      return `${exact(value * 100)}\u202f%`
    case '%':
      return `${exact(value)}\u202f%`
    case 's':
      if (size >= 60) return duration(value)
      if (size >= 1) return `${exact(value)} s`
      if (size >= 1e-3) return `${exact(value * 1e3)} ms`
      return size >= 1e-6 ? `${exact(value * 1e6)} µs` : `${exact(value * 1e9)} ns`
    default:
      return unit === '' || unit.startsWith('{') ? exact(value) : `${exact(value)} ${unit}`
  }
}

/** A length of time in seconds: "340 ms", "12 s", "4 min 10 s", "3 h 5 min", "2 d 4 h". */
export function duration(seconds: number): string {
  if (seconds <= -0.0005) return `−${duration(-seconds)}`
  if (seconds < 0.0005) return '0 s'
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`
  const whole = Math.round(seconds)
  const units: [string, number][] = [
    ['d', 86400],
    ['h', 3600],
    ['min', 60],
    ['s', 1],
  ]
  const first = units.findIndex(([, size]) => whole >= size)
  return units
    .slice(first, first + 2)
    .reduce<{ left: number; parts: string[] }>(
      ({ left, parts }, [name, size]) => {
        const n = Math.floor(left / size)
        return { left: left - n * size, parts: n > 0 ? [...parts, `${n} ${name}`] : parts }
      },
      { left: whole, parts: [] },
    )
    .parts.join(' ')
}

const year = 365.25 * 86400

/** "12 s ago", "4 min ago", "17 y ago"; the future and the last second are "now". */
export function ago(time: Date, now: Date): string {
  const seconds = (now.getTime() - time.getTime()) / 1000
  if (seconds < 2) return 'now'
  const [size, name] =
    seconds < 60 ? [1, 's'] : seconds < 3600 ? [60, 'min'] : seconds < 86400 ? [3600, 'h'] : seconds < 2 * year ? [86400, 'd'] : [year, 'y']
  return `${Math.floor(seconds / (size as number))} ${name} ago`
}

const two = (n: number) => String(n).padStart(2, '0')

/** Local time as people compare it: "14:05:09" today, "21 Nov 14:05" this year, "2025-11-21 14:05" before. */
export function clock(time: Date, now: Date): string {
  if (Number.isNaN(time.getTime())) return '–'
  const hm = `${two(time.getHours())}:${two(time.getMinutes())}`
  if (time.toDateString() === now.toDateString()) return `${hm}:${two(time.getSeconds())}`
  if (time.getFullYear() === now.getFullYear()) {
    return `${time.getDate()} ${time.toLocaleString(english, { month: 'short' })} ${hm}`
  }
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${hm}`
}

/** As `clock`, but to the second on every day: of packets and flows, of which a minute holds many. */
export function second(time: Date, now: Date): string {
  const text = clock(time, now)
  return text === '–' || time.toDateString() === now.toDateString() ? text : `${text}:${two(time.getSeconds())}`
}

/** [1,2,3,7,9,10] → "1–3, 7, 9–10". */
export function ranges(numbers: readonly number[]): string {
  return runs(numbers)
    .map(([from, to]) => (from === to ? count(from) : `${count(from)}–${count(to)}`))
    .join(', ')
}

/** The same numbers as a Wireshark display filter: frame.number in {1..3, 7, 9..10}. */
export function frameFilter(numbers: readonly number[]): string {
  return `frame.number in {${runs(numbers)
    .map(([from, to]) => (from === to ? `${from}` : `${from}..${to}`))
    .join(', ')}}`
}
