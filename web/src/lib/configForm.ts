// From a plugin's JSON Schema to the fields of a form, and from the form back to a configuration. The words of the
// schema are those that sdk/config writes; anything else is edited as JSON text, so no configuration is out of reach.
import type { JSONSchema } from '../api/types'

export type FieldKind = 'text' | 'secret' | 'number' | 'integer' | 'switch' | 'choice' | 'list' | 'numbers' | 'lines' | 'pairs' | 'group' | 'json'

export interface Field {
  /** Keys from the root. */
  path: string[]
  name: string
  kind: FieldKind
  doc: string
  required: boolean
  /** cidr, url, hostport, duration. */
  format: string
  choices: string[]
  min?: number | string
  max?: number | string
  fallback?: unknown
  fields: Field[]
}

export function fieldsOf(schema: JSONSchema | null | undefined, path: string[] = []): Field[] {
  const entries = Object.entries(schema?.properties ?? {})
  entries.sort(([, a], [, b]) => (a['x-order'] ?? 0) - (b['x-order'] ?? 0))
  return entries.map(([name, s]) => fieldOf(name, s, [...path, name], schema?.required?.includes(name) ?? false))
}

function fieldOf(name: string, s: JSONSchema, path: string[], required: boolean): Field {
  const kind = kindOf(s)
  return {
    path,
    name,
    kind,
    required,
    doc: s.description ?? '',
    format: s['x-format'] ?? s.items?.['x-format'] ?? s.format ?? '',
    choices: (s.enum ?? s.items?.enum ?? []).map(String),
    min: s.minimum ?? s['x-min'],
    max: s.maximum ?? s['x-max'],
    fallback: s.default,
    fields: kind === 'group' ? fieldsOf(s, path) : [],
  }
}

function kindOf(s: JSONSchema): FieldKind {
  if (s['x-secret'] || s.writeOnly) return 'secret'
  if (s.enum) return 'choice'
  switch (s.type) {
    case 'boolean':
      return 'switch'
    case 'integer':
      return 'integer'
    case 'number':
      return 'number'
    case 'string':
      return /\b(PEM|YAML)\b/.test(s.description ?? '') ? 'lines' : 'text' // certificates and rules have line breaks
    case 'object':
      return s.properties ? 'group' : typeOf(s.additionalProperties) === 'string' ? 'pairs' : 'json'
    case 'array':
      return s.items?.type === 'string' ? 'list' : s.items?.type === 'integer' || s.items?.type === 'number' ? 'numbers' : 'json'
    default:
      return 'json'
  }
}

const spelled: Record<string, string> = { url: 'URL', tls: 'TLS', ip: 'IP', id: 'ID', smtp: 'SMTP', http: 'HTTP', api: 'API', ca: 'CA', udp: 'UDP', tcp: 'TCP' }

/** The name of a field as a label: "max_addresses" → "Max addresses". */
export function labelOf(name: string): string {
  const words = name.split('_').map((w) => spelled[w] ?? w).join(' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** What the inputs hold, by path joined with dots: a number may be half typed, so it is text or number. */
export type Values = Record<string, unknown>

export const keyOf = (path: string[]): string => path.join('.')

/** What the form shows at first: what is configured, else the defaults. */
export function initialValues(fields: Field[], config: Record<string, unknown> = {}): Values {
  const out: Values = {}
  for (const f of fields) {
    if (f.kind === 'group') {
      Object.assign(out, initialValues(f.fields, asObject(config[f.name])))
      continue
    }
    const value = f.kind === 'secret' ? undefined : (config[f.name] ?? f.fallback)
    out[keyOf(f.path)] = value === undefined ? emptyOf(f.kind) : shown(f.kind, value)
  }
  return out
}

/** A value of the configuration as its input holds it. */
function shown(kind: FieldKind, value: unknown): unknown {
  switch (kind) {
    case 'json':
      return JSON.stringify(value, null, 2)
    case 'pairs':
      return Object.entries(asObject(value)).map(([k, v]) => `${k}: ${String(v)}`).join('\n')
    case 'numbers':
      return (value as unknown[]).map(String)
    case 'choice':
      return String(value)
    default:
      return value
  }
}

/** "name: value" lines as an object; undefined when a line is something else. */
function pairs(text: string): Record<string, string> | undefined {
  const found = text.split('\n').filter((l) => l.trim() !== '').map((l) => /^\s*([^:\s]+)\s*:\s*(.*?)\s*$/.exec(l))
  return found.every((m) => m !== null) ? Object.fromEntries(found.map((m) => [m![1]!, m![2]!])) : undefined
}

const typeOf = (s: unknown): unknown => asObject(s).type

function emptyOf(kind: FieldKind): unknown {
  return kind === 'switch' ? false : kind === 'list' || kind === 'numbers' ? [] : ''
}

export interface Submission {
  config: Record<string, unknown>
  secrets: Record<string, string>
  /** Key of the field → what is wrong (a key of the catalogue). */
  problems: Record<string, FormProblem>
}

export type FormProblem = 'required' | 'number' | 'integer' | 'min' | 'max' | 'json' | 'pairs' | 'duration'

/**
 * Turns the inputs into a configuration. What is left empty is left out, so that the plugin's default holds; the
 * server checks everything again. A stored secret that is left empty keeps its value.
 */
export function submit(fields: Field[], values: Values, stored: readonly string[] = []): Submission {
  const out: Submission = { config: {}, secrets: {}, problems: {} }
  for (const f of fields) {
    const key = keyOf(f.path)
    if (f.kind === 'group') {
      const inner = submit(f.fields, values, stored)
      if (Object.keys(inner.config).length > 0) out.config[f.name] = inner.config
      Object.assign(out.secrets, inner.secrets)
      Object.assign(out.problems, inner.problems)
      continue
    }
    const value = values[key]
    const empty = value === '' || value === undefined || value === null || (Array.isArray(value) && value.length === 0)
    if (empty) {
      if (f.required && !(f.kind === 'secret' && stored.includes(key))) out.problems[key] = 'required'
      // An emptied list is a choice of its own: without it the default would come back.
      else if (Array.isArray(value) && Array.isArray(f.fallback) && f.fallback.length > 0) out.config[f.name] = []
      continue
    }
    if (f.kind === 'secret') {
      out.secrets[key] = String(value)
      continue
    }
    const { read, problem } = readValue(f, value)
    if (problem) out.problems[key] = problem
    else out.config[f.name] = read
  }
  return out
}

function readValue(f: Field, value: unknown): { read?: unknown; problem?: FormProblem } {
  switch (f.kind) {
    case 'integer':
    case 'number': {
      const n = Number(value)
      if (!Number.isFinite(n)) return { problem: 'number' }
      if (f.kind === 'integer' && !Number.isInteger(n)) return { problem: 'integer' }
      if (typeof f.min === 'number' && n < f.min) return { problem: 'min' }
      if (typeof f.max === 'number' && n > f.max) return { problem: 'max' }
      return { read: n }
    }
    case 'numbers': {
      const numbers = (value as unknown[]).map(Number)
      return numbers.every(Number.isFinite) ? { read: numbers } : { problem: 'number' }
    }
    case 'choice':
      return { read: typeof f.fallback === 'number' ? Number(value) : value }
    case 'pairs': {
      const read = pairs(String(value))
      return read ? { read } : { problem: 'pairs' }
    }
    case 'json':
      try {
        return { read: JSON.parse(String(value)) }
      } catch {
        return { problem: 'json' }
      }
    case 'text':
      if (f.format === 'duration' && !/^[-+]?(0|([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$/.test(String(value))) return { problem: 'duration' }
      return { read: value }
    default:
      return { read: value }
  }
}

/** The arguments of a permission with references to the configuration filled in, as far as it is known. */
export function resolved(values: readonly string[], config: Record<string, unknown>): string[] {
  return values.flatMap((v) => {
    const path = /^\$\{config\.([\w.]+)\}$/.exec(v)?.[1]
    if (!path) return [v]
    const found = path.split('.').reduce<unknown>((at, key) => asObject(at)[key], config)
    const known = (Array.isArray(found) ? found : [found]).filter((f) => f !== undefined && f !== '')
    return known.length > 0 ? known.map(String) : [v]
  })
}

export function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
