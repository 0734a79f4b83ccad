// Captures and flows as people use them, on the answers of the fixture: three million flows, captures in every state, packets
// of a flow. The real thing is in journeys.mjs.
import assert from 'node:assert/strict'
import { watchedPage, withBrowser } from './browser.mjs'
import { startFixture } from './fixture/server.mjs'
import { example } from './fixture/traffic.mjs'
import { look } from './look.mjs'

const patient = { timeout: 30_000 }
const param = (page, name) => new URL(page.url()).searchParams.get(name)
const region = (page, name) => page.getByRole('region', { name, exact: true })

/** Filters are typed, chosen in charts and dragged; all of them are in the address, and go away one by one. */
export async function filter({ page, base }) {
  await page.goto(`${base}/flows`)
  await page.getByText('3,000,000 flows').waitFor(patient)
  await page.keyboard.press('/')
  await page.keyboard.type('app:tls bytes>1k')
  await page.keyboard.press('Enter')
  await page.waitForURL((u) => u.searchParams.get('app') === 'tls' && u.searchParams.get('min_bytes') === '1000', patient)
  const chips = page.getByRole('list', { name: 'Filters that apply' })
  await chips.getByRole('button', { name: 'Remove the filter Application TLS' }).click()
  await page.waitForURL((u) => !u.searchParams.has('app') && u.searchParams.has('min_bytes'), patient)
  await region(page, 'Ports of servers').getByRole('button', { name: /502\/tcp/ }).click()
  await page.waitForURL((u) => u.searchParams.get('dst_port') === '502', patient)
  await page.goBack()
  await page.waitForURL((u) => !u.searchParams.has('dst_port'), patient)
  await page.getByRole('searchbox', { name: 'Add filters' }).fill('bytes>plenty')
  await page.keyboard.press('Enter')
  await page.waitForURL((u) => u.searchParams.get('text') === 'bytes>plenty', patient) // no number: a word to look for, in sight
  await page.goto(`${base}/flows?text=nothing`)
  await page.getByText('Nothing fits that').waitFor(patient)
  await page.getByRole('link', { name: 'Remove all filters' }).click()
  await page.getByText('3,000,000 flows').waitFor(patient)
}

/** A range is dragged, or set with the arrow keys. */
export async function time({ page, base }) {
  await page.goto(`${base}/flows`)
  const begin = page.getByRole('slider', { name: 'Begin of the range' })
  await begin.waitFor(patient)
  const box = await begin.locator('..').boundingBox()
  await page.mouse.move(box.x + box.width * 0.25, box.y + 20)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.5, box.y + 20, { steps: 4 })
  await page.mouse.up()
  await page.waitForURL((u) => u.searchParams.has('from') && u.searchParams.has('to'), patient)
  const hours = (Number(param(page, 'to')) - Number(param(page, 'from'))) / 3600_000
  assert.ok(Math.abs(hours - 1.5) < 0.2, `a quarter of six hours, not ${hours}`)
  await page.getByText(/^7\d\d,\d{3} flows/).waitFor(patient)
  await page.getByRole('button', { name: 'Whole time' }).click()
  await page.getByText('3,000,000 flows').waitFor(patient)
  await begin.focus()
  for (let i = 0; i < 6; i++) await page.keyboard.press('PageUp')
  await page.keyboard.press('Enter')
  await page.getByText(/^1,500,000 flows/).waitFor(patient)
}

/** Few of many rows are drawn; more are read on the way down; the keys lead from row to row and into a flow. */
export async function scroll({ page, base }) {
  await page.goto(`${base}/flows`)
  const table = region(page, 'Flows').getByRole('table')
  const rows = table.locator('tbody tr[aria-rowindex]')
  await rows.first().waitFor(patient)
  assert.equal(await table.getAttribute('aria-rowcount'), '3000001')
  const drawn = async () => {
    const n = await rows.count()
    assert.ok(n > 5 && n < 60, `${n} rows are drawn`)
  }
  await drawn()
  await page.getByText('200 of 3,000,000 read').waitFor(patient)
  for (const want of [400, 600, 800]) {
    await table.locator('..').evaluate((e) => e.scrollTo({ top: e.scrollHeight }))
    await page.getByText(`${want} of 3,000,000 read`).waitFor(patient)
  }
  await drawn()
  const links = table.locator('a[data-row]')
  await links.nth(10).focus()
  const at = () => page.evaluate(() => Number(document.activeElement.dataset.row))
  const here = await at()
  await page.keyboard.press('ArrowDown')
  assert.equal(await at(), here + 1)
  await page.keyboard.press('PageDown')
  assert.ok((await at()) > here + 4)
  await page.keyboard.press('Home')
  assert.equal(await at(), 0)
  await drawn()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { level: 1, name: /→/ }).waitFor(patient)
  await page.goBack()
  await table.getByRole('button', { name: 'Bytes' }).click()
  await page.waitForURL((u) => u.searchParams.get('sort') === '-bytes', patient)
  assert.equal(await table.getByRole('columnheader', { name: /^Bytes/ }).getAttribute('aria-sort'), 'descending')
  await page.getByRole('button', { name: 'Columns' }).click()
  await page.getByRole('checkbox', { name: 'VLAN' }).check()
  await table.getByRole('columnheader', { name: 'VLAN' }).waitFor(patient)
  assert.match(param(page, 'cols'), /vlan/)
}

/** A view is saved, opened and deleted; one that somebody shares can be opened. Flows leave as a file. */
export async function views({ page, base, state }) {
  await page.goto(`${base}/flows?app=ssh`)
  await page.getByRole('button', { name: 'Saved views' }).click()
  const menu = page.getByRole('dialog', { name: 'Saved views' })
  await menu.getByText('by grace').waitFor(patient)
  await menu.getByLabel('Name').fill('Shells')
  await menu.getByRole('button', { name: 'Save this view' }).click()
  await menu.getByRole('link', { name: 'Shells' }).waitFor(patient)
  assert.deepEqual(state.views.at(-1).query, 'app=ssh')
  await menu.getByRole('link', { name: 'Unknown and large' }).click()
  await page.waitForURL((u) => u.searchParams.get('app') === 'none' && u.searchParams.get('min_bytes') === '1000000', patient)
  await page.getByRole('button', { name: 'Saved views' }).click()
  await menu.getByRole('button', { name: 'Delete the view Shells' }).click()
  await menu.getByRole('link', { name: 'Shells' }).waitFor({ state: 'detached', timeout: 30_000 })
  await page.keyboard.press('Escape')
  await page.getByRole('button', { name: 'Export' }).click()
  await page.getByRole('checkbox', { name: 'With all features' }).check()
  const file = page.waitForEvent('download', patient)
  await page.getByRole('button', { name: 'As Parquet' }).click()
  assert.equal((await file).suggestedFilename(), 'flows.parquet')
  const asked = new URLSearchParams(state.exported.at(-1))
  assert.deepEqual(['format', 'features', 'app', 'min_bytes'].map((name) => asked.get(name)), ['parquet', 'true', 'none', '1000000'])
  await page.getByRole('button', { name: 'Export' }).click()
  await page.getByRole('button', { name: 'What the columns mean' }).click()
  await page.getByRole('dialog', { name: 'Columns of an export' }).getByText('fwd_packets').waitFor(patient)
}

/** A flow says who spoke to whom, in words; what the network said stays text; features stand beside what is usual. */
export async function detail({ page, base }) {
  await page.goto(`${base}/captures/plant/flows/${example.http}`)
  const said = region(page, 'What was said')
  await said.getByText('GET files.example/img/3.png, answered 404 Not Found').waitFor(patient)
  await said.getByText('<script>alert(1)</script>').first().waitFor()
  await said.getByRole('button', { name: 'Show more' }).click()
  await said.getByText('img/13.png').first().waitFor(patient)
  const features = region(page, 'Features')
  await features.getByText('beside 48,213 similar flows').waitFor()
  const out = await features.getByRole('img').count()
  assert.ok(out >= 1 && out <= 8, `${out} features stand out`)
  assert.match(await features.getByRole('img').first().getAttribute('aria-label'), /usual from .+ to .+, middle/)
  await features.getByText(/^All \d+ features$/).click()
  await features.getByText('Packet length to the server, average').first().waitFor()
  assert.ok((await features.getByRole('img').count()) > 20)
  await page.goto(`${base}/captures/plant/flows/${example.none}`)
  await page.getByText('Too few similar flows to compare with: 2.').waitFor(patient)
  await page.getByText('No parser understood more of it').waitFor()
  await page.goto(`${base}/captures/plant/flows/99999999`)
  await page.getByText('Not there').waitFor(patient)
}

/** A packet's fields mark their bytes, and bytes lead to their field. */
export async function packets({ page, base }) {
  await page.goto(`${base}/captures/plant/flows/${example.tls}`)
  assert.match(await page.getByRole('link', { name: 'Download its packets' }).getAttribute('href', patient), /\/api\/v1\/captures\/plant\/flows\/\d+\/pcap$/)
  await page.getByRole('button', { name: 'Show its packets' }).click()
  const first = page.getByRole('button', { name: /^Packet \d/ }).first()
  await first.waitFor(patient)
  await page.getByRole('button', { name: /^Source 10\.20/ }).click()
  const marked = () => page.locator('pre [data-on]').allInnerTexts()
  assert.deepEqual((await marked()).slice(0, 4), ['0a', '14', '00', '05'])
  await page.locator('pre [data-at="23"]').first().click()
  assert.equal(await page.getByRole('button', { name: /^Protocol TCP/ }).getAttribute('aria-pressed'), 'true')
  await first.focus()
  await page.keyboard.press('ArrowDown')
  assert.equal(await page.getByRole('button', { name: /^Packet \d/ }).nth(1).getAttribute('aria-pressed'), 'true')
  assert.equal((await marked()).length, 0, 'another packet has nothing marked')
}

/** An alert of live traffic opens its flows, with their features, and the packets that were kept; where there are none it says why. */
export async function evidence({ page, base }) {
  await page.goto(`${base}/alerts/scan`)
  await page.getByText('2,000 packets were kept.').waitFor(patient)
  await page.getByText('There were 9,120').waitFor()
  await page.getByText('1 flow has not come from the agent yet').waitFor()
  assert.match(await page.getByRole('link', { name: 'Download these packets' }).getAttribute('href'), /\/api\/v1\/alerts\/scan\/findings\/f1\/pcap$/)
  await page.getByRole('link', { name: 'Packets of flow 102' }).click()
  await page.waitForURL((u) => u.pathname === '/alerts/scan/packets/f1' && u.searchParams.get('flow')?.includes('102'), patient)
  await page.getByRole('button', { name: /^Packet \d/ }).first().waitFor(patient)
  await page.getByRole('button', { name: /^Source 10\.20/ }).click()
  assert.deepEqual((await page.locator('pre [data-on]').allInnerTexts()).slice(0, 4), ['0a', '14', '00', '05'])
  await page.goto(`${base}/alerts/scan`)
  await page.getByRole('link', { name: 'Look at the packets' }).click()
  await page.getByRole('link', { name: 'Download all as pcap' }).waitFor(patient)
  await page.getByRole('link', { name: /10\.20\.0\.66 tried 412/ }).click()
  await page.waitForURL((u) => u.pathname === '/alerts/scan', patient)
  await page.goto(`${base}/alerts/quiet`)
  for (const why of ['keep: 0', 'newer ones had overwritten them', 'within the hour', 'its log says why', 'were removed', 'have not come from the agent yet', 'before the server was upgraded']) await page.getByText(why).first().waitFor(patient)
}

/** Several captures are stopped, taken up again and deleted together; what fails says why. */
export async function captures({ page, base, state }) {
  await page.goto(`${base}/captures`)
  await page.getByText('this is no capture').waitFor(patient)
  await page.getByText('2 in the queue').waitFor()
  for (const name of ['line-3-tuesday.pcapng', 'warehouse.pcap.zst', 'stopped-by-hand.pcap']) await page.getByRole('checkbox', { name: `Select ${name}` }).check()
  await page.getByText('3 selected').waitFor()
  await page.getByRole('button', { name: 'Stop', exact: true }).click()
  await page.getByText('2 analyses stopped; what they found stays.').waitFor(patient)
  assert.equal(state.captures.find((c) => c.id === 'line').state, 'stopped')
  await page.getByRole('checkbox', { name: 'Select stopped-by-hand.pcap' }).check()
  await page.getByRole('button', { name: 'Start over' }).click()
  await page.getByText(/1 analysis begins again/).waitFor(patient)
  await page.getByRole('checkbox', { name: 'Select holiday-photo.jpg' }).check()
  await page.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('dialog').getByText('holiday-photo.jpg').waitFor()
  assert.ok(state.captures.some((c) => c.id === 'bad'), 'nothing happens before the answer')
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('row').filter({ hasText: 'holiday-photo.jpg' }).waitFor({ state: 'detached', timeout: 30_000 })
  await page.goto(`${base}/captures/plant`)
  await region(page, 'Protocols').getByRole('button', { name: /^Modbus/ }).click()
  await page.waitForURL((u) => u.pathname === '/flows' && u.searchParams.get('app') === 'modbus' && u.searchParams.get('capture') === 'plant', patient)
}

/** Two files are sent at a time; a refused one says why and can be sent again. */
export async function uploads({ page, base }) {
  const held = []
  await page.route('**/api/v1/captures', (route) => (route.request().method() === 'POST' ? void held.push(route) : route.fallback()))
  await page.goto(`${base}/captures`)
  await page.locator('input[type=file]').setInputFiles(['a', 'b', 'c'].map((name) => ({ name: `${name}.pcap`, mimeType: 'application/octet-stream', buffer: Buffer.from('x') })))
  await page.getByText('2 on their way, 1 waiting, 0 not stored').waitFor(patient)
  await page.waitForTimeout(200)
  assert.equal(held.length, 2)
  await held[0].fulfill({ status: 507, contentType: 'application/problem+json', body: JSON.stringify({ title: 'Insufficient Storage', detail: 'the disk is full' }) })
  await page.getByText('the disk is full').waitFor(patient)
  await page.getByText('2 on their way, 0 waiting, 1 not stored').waitFor(patient)
  await page.getByRole('button', { name: 'Send a.pcap again' }).click()
  await page.getByText('2 on their way, 1 waiting, 0 not stored').waitFor(patient)
  await page.getByRole('button', { name: 'Stop all' }).click()
  await page.getByText('0 on their way, 0 waiting, 3 not stored').waitFor(patient)
  await page.getByRole('button', { name: 'Dismiss what is over' }).click()
  await page.getByRole('region', { name: 'Uploads' }).waitFor({ state: 'detached', timeout: 30_000 })
}

const journeys = { filter, time, scroll, views, detail, packets, evidence, captures, uploads }

const opened = async (page, base) => {
  await page.goto(`${base}/captures/plant/flows/${example.tls}`)
  await page.getByRole('button', { name: 'Show its packets' }).click()
  await page.getByRole('button', { name: /^Source 10\.20/ }).click()
}

const places = (base) => ({
  flows: '/flows', 'flows-filtered': '/flows?app=tls&proto=tcp&min_bytes=1000000&host=10.20.0.2', 'flows-none': '/flows?text=nothing',
  flow: `/captures/plant/flows/${example.http}`, 'flow-unknown': `/captures/plant/flows/${example.none}`, 'flow-packets': (page) => opened(page, base),
  'alert-live': '/alerts/scan', 'alert-live-quiet': '/alerts/quiet', 'alert-live-packets': '/alerts/scan/packets/f1',
  'captures-many': '/captures', 'capture-large': '/captures/plant',
  'flows-views': async (page) => {
    await page.goto(`${base}/flows`)
    await page.getByRole('button', { name: 'Saved views' }).click()
    await page.getByText('by grace').waitFor()
  },
})

/** All of it. `step` runs and reports one; pictures go to `dir`. */
export async function traffic(step, dir) {
  const live = (fault) => !/WebSocket/.test(fault) // the fixture has no live channel
  const fixture = await startFixture()
  try {
    await withBrowser({ viewport: { width: 1280, height: 860 } }, async (context) => {
      for (const [name, work] of Object.entries(journeys)) {
        const { page, faults } = await watchedPage(context, fixture.base)
        await step(`flows: ${name}`, async () => {
          await work({ page, ...fixture })
          if (faults.some(live)) throw new Error(faults.filter(live).join('\n'))
        })
        await page.close()
      }
    })
  } finally {
    await fixture.stop()
  }
  const untouched = await startFixture()
  try {
    await step('flows: every page in two widths, light and dark, with axe', async () => {
      const wrong = (await look(untouched.base, async () => {}, places(untouched.base), dir)).filter(live)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    })
  } finally {
    await untouched.stop()
  }
}
