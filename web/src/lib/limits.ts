// The limits that an operator sets instead of a manifest's, between the API and the inputs of a form.
import type { LimitsSet, ProcessLimits } from '../api/types'

export const limitNames = ['memory', 'cpu', 'deadline', 'records_per_second'] as const
export type LimitName = (typeof limitNames)[number]

/** What the inputs hold: text, or a number where the input makes one. Empty means as the manifest states. */
export type LimitValues = Record<LimitName, string | number>

export type LimitProblem = LimitName

export function limitValues(set: LimitsSet | undefined): LimitValues {
  return { memory: set?.memory ?? '', cpu: set?.cpu ?? '', deadline: set?.deadline ?? '', records_per_second: set?.records_per_second ?? '' }
}

/** What holds now where nothing is set, written as it would be typed; empty where that is not known. */
export function standingLimits(now: ProcessLimits | undefined, set: LimitsSet | undefined): Record<LimitName, string> {
  const shown = (name: LimitName, value: number | undefined, write: (v: number) => string) => (value && !set?.[name] ? write(value) : '')
  return {
    memory: shown('memory', now?.memory_bytes, quantity),
    cpu: shown('cpu', now?.cpu, String),
    deadline: shown('deadline', now?.deadline_seconds, timeSpan),
    records_per_second: shown('records_per_second', now?.records_per_second, String),
  }
}

const units = [['Gi', 2 ** 30], ['Mi', 2 ** 20], ['Ki', 2 ** 10]] as const

/** 67108864 → "64Mi", in the largest unit that divides it. */
function quantity(bytes: number): string {
  const [unit, size] = units.find(([, n]) => bytes >= n && bytes % n === 0) ?? ['', 1]
  return `${bytes / size}${unit}`
}

/** 90 → "1m30s", 0.25 → "250ms". */
function timeSpan(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)}ms`
  const minutes = Math.floor(seconds / 60)
  const rest = Number((seconds % 60).toFixed(3))
  return `${minutes ? `${minutes}m` : ''}${rest || !minutes ? `${rest}s` : ''}`
}

/**
 * Reads the inputs. Limits that the form does not show stay as they were set, and undefined means that none is. The
 * server checks everything again.
 */
export function readLimits(values: LimitValues, set?: LimitsSet): { limits?: LimitsSet; problems: LimitProblem[] } {
  const text = (name: LimitName) => String(values[name]).trim()
  const problems: LimitProblem[] = []
  const read = <T>(name: LimitName, parse: (text: string) => T | undefined): T | undefined => {
    if (text(name) === '') return undefined
    const found = parse(text(name))
    if (found === undefined) problems.push(name)
    return found
  }
  const limits: LimitsSet = {
    memory: read('memory', memory),
    cpu: read('cpu', (s) => within(Number(s), 0.01, 1024)),
    deadline: read('deadline', (s) => (/^(\d+(\.\d*)?(ms|s|m|h))+$/.test(s) ? s : undefined)),
    records_per_second: read('records_per_second', (s) => (Number.isInteger(Number(s)) ? within(Number(s), 1, 100_000_000) : undefined)),
    open_files: set?.open_files,
    log_lines_per_second: set?.log_lines_per_second,
  }
  return { limits: Object.values(limits).some((v) => v !== undefined) ? limits : undefined, problems }
}

/** "64Mi", also written "64 MiB" as sizes are shown. */
function memory(text: string): string | undefined {
  const [, digits, unit = ''] = /^([1-9]\d{0,9})\s*(?:([KMG]i)B?)?$/.exec(text) ?? []
  return digits === undefined || Number(digits) >= 2 ** 31 ? undefined : digits + unit
}

const within = (n: number, least: number, most: number): number | undefined => (n >= least && n <= most ? n : undefined)
