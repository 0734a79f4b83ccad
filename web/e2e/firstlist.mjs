// Measures a fresh load of the marketplace: from the start of the navigation until the first list is painted, with an
// empty cache and with a full one.
//
//   node e2e/firstlist.mjs [--data FOLDER] [--runs N] [--path /market] [--json]
//
// It asks the picketd at PICKET_URL (PICKET_SIGNIN signs in), else it starts one with --dev, on the data in FOLDER, which
// is gone afterwards, or on a fresh folder. `go test -run '^$' -bench FirstList ./internal/bench` makes a FOLDER with 1,000 plugins and calls it.
import { parseArgs } from 'node:util'
import { withBrowser } from './browser.mjs'
import { devServer, startOn } from './server.mjs'

const { values: wish } = parseArgs({
  options: { data: { type: 'string' }, runs: { type: 'string', default: '15' }, path: { type: 'string', default: '/market' }, json: { type: 'boolean', default: false } },
})
const runs = Number(wish.runs)

/** Runs in the page before anything else: notes when the first link to a plugin has been painted. */
function watchForTheList() {
  const look = new MutationObserver(() => {
    if (!document.querySelector('[data-hit]')) return
    look.disconnect()
    // A frame callback runs before its frame is painted, a task queued from it after that.
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => performance.mark('first-list')
      port2.postMessage(0)
    })
  })
  look.observe(document, { childList: true, subtree: true })
}

async function load(page, address) {
  await page.goto('about:blank')
  await page.goto(address, { waitUntil: 'commit' })
  await page.waitForFunction(() => performance.getEntriesByName('first-list').length > 0, null, { timeout: 30_000, polling: 20 })
  return page.evaluate(() => {
    const at = (name) => performance.getEntriesByName(name)[0]?.startTime
    const got = performance.getEntriesByType('resource')
    const answer = (part) => got.find((r) => r.name.includes(part))
    return {
      total: at('first-list'),
      html: performance.getEntriesByType('navigation')[0].responseEnd,
      scripts: Math.max(...got.filter((r) => r.name.endsWith('.js')).map((r) => r.responseEnd)),
      asked: answer('/api/v1/market/')?.startTime,
      answered: answer('/api/v1/market/')?.responseEnd,
      requests: got.length,
      bytes: got.reduce((sum, r) => sum + r.transferSize, 0),
    }
  })
}

async function signIn(page, { base, link }) {
  await page.goto(link)
  await page.waitForURL(`${base}/`, { timeout: 30_000 })
  return page.context().cookies()
}

const screen = { viewport: { width: 1280, height: 860 }, reducedMotion: 'reduce' }
const fresh = (cookies, work) =>
  withBrowser(screen, async (context) => {
    if (cookies) await context.addCookies(cookies)
    await context.addInitScript(watchForTheList)
    return work(await context.newPage())
  })

async function measure(server) {
  const address = server.base + wish.path
  const cookies = await fresh(null, (page) => signIn(page, server))
  const cold = []
  for (let n = 0; n < runs; n++) cold.push(await fresh(cookies, (page) => load(page, address)))
  const warm = await fresh(cookies, async (page) => {
    for (let n = 0; n < 3; n++) await load(page, address) // the browser keeps compiled scripts after a few visits
    const out = []
    for (let n = 0; n < runs; n++) out.push(await load(page, address))
    return out
  })
  return { cold: summary(cold), warm: summary(warm) }
}

function summary(list) {
  const of = (name, share) => {
    const sorted = list.map((x) => x[name] ?? Number.NaN).sort((a, b) => a - b)
    return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] * 10) / 10
  }
  return {
    p50: of('total', 0.5), p95: of('total', 0.95),
    html: of('html', 0.5), scripts: of('scripts', 0.5), asked: of('asked', 0.5), answered: of('answered', 0.5), requests: of('requests', 0.5), kilobytes: Math.round(of('bytes', 0.5) / 1024),
  }
}

const server = wish.data ? await startOn(wish.data, '--dev') : await devServer()
try {
  const found = await measure(server)
  if (wish.json) console.log(JSON.stringify(found))
  else {
    console.log(`first list of ${wish.path}, ${runs} loads each; ms after the start of the navigation`)
    console.table(found)
  }
} finally {
  await server.stop()
}
