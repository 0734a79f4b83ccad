// Facts of application protocols in one readable line each. What a fact says came from the network: it is only ever text.
import type { TFunction } from 'i18next'
import { bytes } from './format'
import { protocolName } from './flowWords'

export type Fields = Record<string, unknown>

export interface FactLike {
  kind: string
  name: string
  from_server: boolean
  client: string
  fields: Fields
}

export interface Said {
  /** The line itself. */
  text: string
  /** Small words behind it. */
  marks: string[]
  bad?: boolean
}

const text = (f: Fields, key: string): string => {
  const v = f[key]
  return typeof v === 'string' ? v : typeof v === 'number' ? String(v) : ''
}
const num = (f: Fields, key: string): number => (typeof f[key] === 'number' ? f[key] : Number(f[key] ?? 0) || 0)
const list = (f: Fields, key: string): string[] => (Array.isArray(f[key]) ? (f[key] as unknown[]).map(String) : [])

const dnsTypes: Record<number, string> = {
  1: 'A', 2: 'NS', 5: 'CNAME', 6: 'SOA', 12: 'PTR', 13: 'HINFO', 15: 'MX', 16: 'TXT', 28: 'AAAA', 33: 'SRV', 35: 'NAPTR', 43: 'DS', 46: 'RRSIG', 47: 'NSEC', 48: 'DNSKEY', 64: 'SVCB', 65: 'HTTPS', 99: 'SPF', 252: 'AXFR', 255: 'ANY', 257: 'CAA',
}
export const dnsType = (n: number): string => dnsTypes[n] ?? `TYPE${n}`

const rcodes = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED']
const rcode = (n: number): string => rcodes[n] ?? `RCODE${n}`

const tlsVersions: Record<number, string> = { 0x0300: 'SSL 3.0', 0x0301: 'TLS 1.0', 0x0302: 'TLS 1.1', 0x0303: 'TLS 1.2', 0x0304: 'TLS 1.3', 0xfeff: 'DTLS 1.0', 0xfefd: 'DTLS 1.2', 0xfefc: 'DTLS 1.3' }
const oldTLS = [0x0300, 0x0301, 0x0302, 0xfeff]

/** The line for a fact; of a kind that is not known the name, or the first of its fields. */
export function say(fact: FactLike, t: TFunction): Said {
  const said = Object.hasOwn(lines, fact.kind) ? lines[fact.kind]!(fact, t) : null
  if (said) return said
  const first = Object.entries(fact.fields).find(([, v]) => typeof v === 'string' && v !== '')
  return { text: fact.name || (first ? `${first[0]} ${String(first[1])}` : fact.kind), marks: [] }
}

const lines: Record<string, (fact: FactLike, t: TFunction) => Said> = {
  dns({ fields: f }, t) {
    const name = text(f, 'query') || '.'
    const marks = text(f, 'protocol') && text(f, 'protocol') !== 'dns' ? [protocolName(text(f, 'protocol'))] : []
    if (!f.response) return { text: t('traffic.facts.dnsAsked', { name, type: dnsType(num(f, 'qtype')) }), marks }
    const code = num(f, 'rcode')
    if (code !== 0) return { text: t('traffic.facts.dnsFailed', { name, code: rcode(code) }), marks, bad: code === 3 }
    const answers = list(f, 'answers')
    const some = answers.length === 0 ? t('traffic.facts.dnsNothing') : answers.slice(0, 4).join(', ') + (answers.length > 4 ? ' …' : '')
    return { text: t('traffic.facts.dnsAnswered', { name, answers: some }), marks }
  },
  tls({ fields: f }, t) {
    const chosen = num(f, 'version') || num(f, 'offered')
    const version = text(f, 'protocol') === 'quic' ? 'QUIC' : (tlsVersions[chosen] ?? 'TLS')
    const name = text(f, 'server_name')
    const marks = [text(f, 'alpn') || list(f, 'alpns').join(', '), text(f, 'ja4'), f.encrypted ? 'ECH' : '', f.self_signed ? 'self-signed' : ''].filter(Boolean)
    return { text: name ? t('traffic.facts.tls', { version, name }) : t('traffic.facts.tlsNameless', { version }), marks, bad: oldTLS.includes(chosen) }
  },
  http({ fields: f }, t) {
    const status = num(f, 'status')
    const url = `${text(f, 'host')}${text(f, 'target')}`
    const asked = t('traffic.facts.http', { method: text(f, 'method') || '…', url })
    const answered = status > 0 ? t('traffic.facts.httpAnswer', { status: [status, text(f, 'reason')].filter(Boolean).join(' ') }) : t('traffic.facts.httpNone')
    return { text: `${asked}, ${answered}`, marks: [text(f, 'content_type'), text(f, 'user_agent'), f.grpc ? 'gRPC' : ''].filter(Boolean), bad: status >= 400 }
  },
  smb({ fields: f }, t) {
    const where = [text(f, 'share'), text(f, 'file')].filter(Boolean).join(' ')
    const user = [text(f, 'domain'), text(f, 'user')].filter(Boolean).join('\\')
    return { text: [text(f, 'name'), where, user].filter(Boolean).join(' '), marks: [f.response ? t('traffic.facts.response') : t('traffic.facts.request')], bad: num(f, 'status') >= 0xc0000000 }
  },
  dhcp({ fields: f }, t) {
    const who = [text(f, 'hostname'), text(f, 'mac')].filter(Boolean).join(', ')
    const address = text(f, 'your_addr') || text(f, 'requested')
    return { text: t('traffic.facts.dhcp', { what: text(f, 'name'), who }), marks: [address, text(f, 'vendor_class')].filter(Boolean) }
  },
  arp({ fields: f }, t) {
    const asks = text(f, 'operation') === 'request' || text(f, 'operation').includes('solicit')
    const who = text(f, 'sender_mac') || text(f, 'source_mac')
    return asks
      ? { text: t('traffic.facts.arpAsks', { who: text(f, 'sender_ip') || who, what: text(f, 'target_ip') }), marks: [] }
      : { text: t('traffic.facts.arpSays', { who: text(f, 'sender_ip') || text(f, 'target_ip'), what: who }), marks: [] }
  },
  ot({ fields: f }, t) {
    const unit = text(f, 'unit')
    const value = [text(f, 'object'), num(f, 'quantity') > 1 ? `× ${num(f, 'quantity')}` : ''].filter(Boolean).join(' ')
    const marks = [f.response ? t('traffic.facts.response') : t('traffic.facts.request'), unit && `# ${unit}`].filter(Boolean)
    return { text: [protocolName(text(f, 'protocol')), text(f, 'name'), value].filter(Boolean).join(' '), marks, bad: f.failed === true }
  },
  files({ fields: f }, t) {
    const size = bytes(num(f, 'size'))
    return { text: t('traffic.facts.file', { name: text(f, 'name') || t('traffic.facts.nameless'), type: text(f, 'type') || '?', size }), marks: [f.complete ? '' : t('traffic.facts.half'), text(f, 'sha256')].filter(Boolean) }
  },
  logins({ fields: f }, t) {
    const result = text(f, 'result')
    const words = t(`traffic.facts.loginResult.${result}` as 'traffic.facts.loginResult.success', { defaultValue: result })
    const who = t('traffic.facts.login', { user: text(f, 'user') || t('traffic.facts.nobody'), method: text(f, 'method') || protocolName(text(f, 'protocol')) })
    return { text: `${who}: ${words}`, marks: f.clear ? [t('traffic.facts.clear')] : [], bad: result === 'failure' || f.clear === true }
  },
  messages({ fields: f, name }, t) {
    const parts = [protocolName(text(f, 'protocol')), text(f, 'name') || name, text(f, 'text'), text(f, 'code')]
    return { text: parts.filter(Boolean).join(' '), marks: f.response ? [t('traffic.facts.response')] : [] }
  },
}

/** One value as text: lists with commas, bytes as they came, everything bounded. */
export function fieldText(value: unknown): string {
  const long = Array.isArray(value) ? value.map(fieldText).join(', ') : typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
  return long.length > 2000 ? `${long.slice(0, 2000)} …` : long
}

/** Facts by kind, in the order in which each kind appeared first. */
export function byKind<T extends { kind: string }>(facts: readonly T[]): [string, T[]][] {
  const groups = new Map<string, T[]>()
  for (const f of facts) {
    const group = groups.get(f.kind)
    if (group) group.push(f)
    else groups.set(f.kind, [f])
  }
  return [...groups]
}
