// Prints what the first page costs over the wire and fails when its JavaScript passes the budget.
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const budget = 350 * 1024
const dist = new URL('../dist/', import.meta.url)
const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', dist), 'utf8'))
const size = (file) => gzipSync(readFileSync(new URL(file, dist))).length

/** A chunk and everything it imports at once; `lazy` chunks are those it only may load. */
function withImports(key, seen = new Set()) {
  if (seen.has(key)) return seen
  seen.add(key)
  for (const next of manifest[key].imports ?? []) withImports(next, seen)
  return seen
}

const entry = Object.keys(manifest).find((k) => manifest[k].isEntry)
const pages = {
  'sign-in': 'src/pages/Signin.tsx',
  overview: 'src/pages/Overview.tsx',
  incidents: 'src/pages/Incidents.tsx',
  incident: 'src/pages/Incident.tsx',
  alerts: 'src/pages/Alerts.tsx',
  alert: 'src/pages/Alert.tsx',
  attack: 'src/pages/Attack.tsx',
  captures: 'src/pages/Captures.tsx',
  flows: 'src/pages/flows/Flows.tsx',
  flow: 'src/pages/flows/Flow.tsx',
  plugin: 'src/pages/Plugin.tsx',
  marketplace: 'src/pages/market/Market.tsx',
  card: 'src/pages/market/Card.tsx',
  fleet: 'src/pages/fleet/Fleet.tsx',
  machines: 'src/pages/Machines.tsx',
  machine: 'src/pages/Machine.tsx',
}
const kb = (n) => `${(n / 1024).toFixed(1).padStart(6)} KiB`
let failed = false
for (const [name, key] of Object.entries(pages)) {
  const keys = withImports(entry)
  withImports(key, keys)
  const total = [...keys].reduce((sum, k) => sum + size(manifest[k].file), 0)
  const over = total > budget
  failed ||= over
  console.log(`${name.padEnd(22)} ${kb(total)} of JavaScript, gzip${over ? '  OVER BUDGET' : ''}`)
}
const css = [...new Set(Object.values(manifest).flatMap((m) => m.css ?? []))].reduce((sum, f) => sum + size(f), 0)
console.log(`${'all styles'.padEnd(22)} ${kb(css)} of CSS, gzip`)
if (failed) {
  console.error(`A page needs more than ${budget / 1024} KiB of JavaScript: load something later.`)
  process.exit(1)
}
