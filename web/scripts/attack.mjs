// Writes src/lib/attack.json, the names and tactics of ATT&CK techniques, from tables of MITRE's:
//   node scripts/attack.mjs FOLDER      with tactics.tsv and techniques.tsv.gz
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

const folder = process.argv[2]
if (!folder) throw new Error('which folder holds tactics.tsv and techniques.tsv.gz?')

/** The columns of each matrix as ATT&CK draws them; the tables do not say. */
const columns = {
  enterprise: ['TA0043', 'TA0042', 'TA0001', 'TA0002', 'TA0003', 'TA0004', 'TA0005', 'TA0006', 'TA0007', 'TA0008', 'TA0009', 'TA0011', 'TA0010', 'TA0040'],
  ics: ['TA0108', 'TA0104', 'TA0110', 'TA0111', 'TA0103', 'TA0102', 'TA0109', 'TA0100', 'TA0101', 'TA0107', 'TA0106', 'TA0105'],
}

function rows(text) {
  const [head, ...lines] = text.trim().split('\n').map((line) => line.split('\t'))
  return lines.map((cells) => Object.fromEntries(head.map((name, i) => [name, cells[i]])))
}

const tactics = rows(readFileSync(join(folder, 'tactics.tsv'), 'utf8'))
const techniques = rows(gunzipSync(readFileSync(join(folder, 'techniques.tsv.gz'))).toString())

const out = { tactics: {}, techniques: {} }
for (const [domain, ids] of Object.entries(columns)) {
  const own = ids.map((id) => tactics.find((t) => t.domain === domain && t.id === id))
  if (own.length !== tactics.filter((t) => t.domain === domain).length) throw new Error(`${domain}: the order of its columns is not complete`)
  out.tactics[domain] = own.map((t) => [t.id, t.name])
  for (const t of techniques.filter((t) => t.domain === domain && t.revoked_or_deprecated === '0')) {
    out.techniques[t.id] = [t.name, ...t.tactics.split(',').map((name) => own.findIndex((tactic) => tactic.shortname === name)).sort((a, b) => a - b)]
    if (out.techniques[t.id].includes(-1)) throw new Error(`${t.id}: ${t.tactics}`)
  }
}
const lines = (of) => Object.entries(of).map(([key, value]) => `    ${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(',\n')
writeFileSync(new URL('../src/lib/attack.json', import.meta.url), `{\n  "tactics": {\n${lines(out.tactics)}\n  },\n  "techniques": {\n${lines(out.techniques)}\n  }\n}\n`)
