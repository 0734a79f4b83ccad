// The flows explorer's state as its address holds it, and the words that people type to filter.

/** Filters that hold text. */
export const textFields = ['capture', 'host', 'src', 'dst', 'app', 'proto', 'tunnel', 'end_reason', 'text'] as const
/** Filters that hold a number. */
export const numberFields = ['port', 'dst_port', 'vlan', 'min_bytes', 'min_packets', 'min_duration'] as const

export const protos = ['tcp', 'udp', 'icmp', 'icmpv6'] as const
export const ends = ['fin', 'rst', 'idle', 'active', 'eviction', 'end'] as const

type Texts = Partial<Record<(typeof textFields)[number], string>>
type Numbers = Partial<Record<(typeof numberFields)[number], number>>

export interface FlowFilter extends Texts, Numbers {
  /** Moments in Unix milliseconds. */
  from?: number
  to?: number
}
export type FlowField = keyof FlowFilter

export const sorts = ['start', '-start', '-bytes', '-packets', '-duration'] as const
export type FlowSort = (typeof sorts)[number]
export const standardSort: FlowSort = '-start'

/** Columns beside the conversation, which is always there. */
export const columns = ['start', 'app', 'proto', 'info', 'bytes', 'packets', 'duration', 'end', 'tunnel', 'vlan', 'capture'] as const
export type FlowColumn = (typeof columns)[number]
export const standardColumns: FlowColumn[] = ['start', 'app', 'info', 'bytes', 'packets', 'duration']

export interface FlowAddress extends FlowFilter {
  sort?: FlowSort
  /** Columns by name, with commas; the standard ones when absent. */
  cols?: string
}

const longest = 200
/** Ports and VLANs have an end of their own; the others only must be exact. */
const most: Partial<Record<FlowField, number>> = { port: 65_535, dst_port: 65_535, vlan: 4095 }

type Query = Record<string, unknown>

/** What is unknown, empty or out of bounds is left out. */
export function readFlowAddress(query: Query): FlowAddress {
  const out: FlowAddress = {}
  for (const key of textFields) {
    const value = query[key]
    const text = typeof value === 'string' || typeof value === 'number' ? String(value).trim().slice(0, longest) : ''
    if (text !== '') out[key] = text
  }
  for (const key of numberFields) {
    const value = query[key]
    const n = typeof value === 'number' ? value : typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN
    if (!Number.isFinite(n) || n <= 0 || n > (most[key] ?? Number.MAX_SAFE_INTEGER)) continue
    if (key !== 'min_duration' && !Number.isInteger(n)) continue
    out[key] = n
  }
  for (const key of ['from', 'to'] as const) {
    const n = Number(query[key])
    if (query[key] !== undefined && query[key] !== '' && Number.isFinite(n) && Math.abs(n) <= 8.64e15) out[key] = Math.round(n)
  }
  if (out.from !== undefined && out.to !== undefined && out.from >= out.to) {
    delete out.from
    delete out.to
  }
  const sort = sorts.find((s) => s === query.sort)
  if (sort && sort !== standardSort) out.sort = sort
  const cols = typeof query.cols === 'string' ? columnsOf({ cols: query.cols }) : standardColumns
  if (cols.join() !== standardColumns.join()) out.cols = cols.join()
  return out
}

/** The columns of an address, in the order of the table. */
export function columnsOf(a: Pick<FlowAddress, 'cols'>): FlowColumn[] {
  if (a.cols === undefined) return standardColumns
  const wanted = a.cols.split(',')
  return columns.filter((c) => wanted.includes(c))
}

/** The filter without what only says how it is shown. */
export function filterOf(a: FlowAddress): FlowFilter {
  const filter = { ...a }
  delete filter.sort
  delete filter.cols
  return filter
}

export interface Chip {
  /** The time range is one chip. */
  fields: FlowField[]
  field: FlowField
}

/** The filters one by one, as chips that can be taken away. */
export function chipsOf(a: FlowFilter): Chip[] {
  const single = ([...textFields, ...numberFields] as FlowField[]).filter((k) => a[k] !== undefined).map((field) => ({ field, fields: [field] }))
  return a.from !== undefined || a.to !== undefined ? [{ field: 'from', fields: ['from', 'to'] }, ...single] : single
}

export function without(a: FlowAddress, fields: readonly FlowField[]): FlowAddress {
  return readFlowAddress({ ...a, ...Object.fromEntries(fields.map((f) => [f, undefined])) })
}

export const withFlow = (a: FlowAddress, change: Partial<FlowAddress>): FlowAddress => readFlowAddress({ ...a, ...change })

/** Other names that people know a field by. */
const aliases: Record<string, FlowField> = {
  addr: 'host', address: 'host', ip: 'host', client: 'src', server: 'dst', application: 'app', protocol: 'proto', transport: 'proto',
  bytes: 'min_bytes', packets: 'min_packets', duration: 'min_duration', reason: 'end_reason', end: 'end_reason', q: 'text', name: 'text', sni: 'text',
}

/**
 * Reads what somebody typed: "port:443", "app:tls", "bytes>1M", or a bare word, whose field its form tells: an address, a
 * port, a transport protocol. Words that are nothing of that search the text of the facts.
 */
export function readWords(text: string): FlowFilter {
  const out: Query = {}
  const rest: string[] = []
  for (const word of text.trim().split(/\s+/).filter(Boolean)) {
    const named = /^([a-z_]+)(?::|>=?|=)(.+)$/i.exec(word)
    const field = named && fieldNamed(named[1]!)
    const value = field && isSize(field) ? amount(named[2]!) : named?.[2]
    // A number that is none, as in "bytes>lots", stays in sight as text; left out, it would seem to have been understood.
    if (field && !(isNumber(field) && !Number.isFinite(Number(value)))) out[field] = value
    else if (isAddress(word)) out.host = word
    else if (/^:?\d{1,5}$/.test(word)) out.port = word.replace(':', '')
    else if ((protos as readonly string[]).includes(word.toLowerCase())) out.proto = word.toLowerCase()
    else rest.push(word)
  }
  if (rest.length > 0) out.text = rest.join(' ')
  return filterOf(readFlowAddress(out))
}

function fieldNamed(name: string): FlowField | undefined {
  const low = name.toLowerCase()
  const known = ([...textFields, ...numberFields] as FlowField[]).find((f) => f === low)
  return known ?? (Object.hasOwn(aliases, low) ? aliases[low] : undefined)
}

const isNumber = (field: FlowField): boolean => (numberFields as readonly string[]).includes(field)

const isSize = (field: FlowField): boolean => field.startsWith('min_')

/** "1.5M" → 1500000, "2KiB" → 2048. A number that is none stays what it is, and is left out by readFlowAddress. */
function amount(text: string): number | string {
  const found = /^(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?)b?|s|b)?$/i.exec(text)
  if (!found) return text
  const power = found[2] ? ' kmgt'.indexOf(found[2].toLowerCase()) : 0
  const value = Number(found[1]) * (found[3] ? 1024 : 1000) ** power
  return power > 0 ? Math.round(value) : value
}

/** An address or a prefix of IPv4 or IPv6; whether it is a right one, the server says. */
export function isAddress(word: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){1,3}(\/\d{1,2})?$/.test(word) || (/^[0-9a-f:.]+(\/\d{1,3})?$/i.test(word) && (word.match(/:/g)?.length ?? 0) >= 2)
}
