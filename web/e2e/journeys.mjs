// What a person does, step by step, against the real picketd. Each journey throws at the first thing that is not so.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'

const sample = fileURLToPath(new URL('../../examples/datasets/first-light/first-light.pcap', import.meta.url))
const patient = { timeout: 30_000 }

export * from './journeys-groups.mjs'
export * from './journeys-identity.mjs'
export * from './journeys-incident.mjs'
export * from './journeys-rules.mjs'
export * from './journeys-metricrules.mjs'
export * from './journeys-market.mjs'
export * from './journeys-operate.mjs'
export * from './journeys-traffic.mjs'
export * from './journeys-triage.mjs'

/** The one-click link of --dev signs in, once, and leaves no token in the address. */
export async function oneClick({ page, base, link }) {
  await page.goto(link)
  await page.waitForURL(`${base}/`, patient)
  await page.getByRole('heading', { name: 'Overview', level: 1 }).waitFor()
  assert.equal(await page.evaluate(() => location.hash), '')
  assert.equal(await page.evaluate(() => history.length) <= 3, true, 'the link stays in the history')
}

/** Live charts of this machine, the two attacks of the sample and nothing else, four next steps, the trust named. */
export async function overview({ page, base }) {
  await page.goto(base)
  for (const chart of ['CPU', 'Memory', 'Disk', 'Network']) {
    const figure = page.locator('figure').filter({ hasText: chart })
    await figure.getByText(/\d/).first().waitFor({ timeout: 20_000 })
    await figure.locator('canvas').waitFor(patient)
    const spoken = await figure.getByRole('slider').getAttribute('aria-valuetext')
    assert.match(spoken, /\d/, `${chart} says no number: ${spoken}`)
  }
  const cpu = page.getByRole('slider', { name: /CPU/ })
  const before = await cpu.getAttribute('aria-valuetext')
  await page.waitForFunction((old) => document.querySelector('[role=slider]').getAttribute('aria-valuetext') !== old, before, patient)
  await page.getByText('Development trust.').waitFor()
  const open = page.getByRole('region', { name: 'Open alerts' })
  await open.getByRole('listitem').first().waitFor(patient)
  assert.equal(await open.getByRole('listitem').count(), 2, 'the sample has exactly two attacks')
  await open.getByText('picket/portscan').waitFor()
  await open.getByText('picket/beacon').waitFor()
  assert.equal(await page.getByRole('region', { name: 'Next steps' }).getByRole('listitem').count(), 4)
  await page.getByText('Live', { exact: true }).filter({ visible: true }).waitFor(patient)
}

/** The arrow keys read single moments of a chart. */
export async function keyboard({ page, base }) {
  await page.goto(base)
  const cpu = page.getByRole('slider', { name: /CPU/ })
  await page.waitForFunction(() => /\d.*\d/.test(document.querySelector('[role=slider]')?.getAttribute('aria-valuetext') ?? ''), null, patient)
  await cpu.focus()
  await page.keyboard.press('End')
  await page.keyboard.press('ArrowLeft')
  const earlier = Number(await cpu.getAttribute('aria-valuenow'))
  await page.keyboard.press('End')
  assert.ok(earlier < Number(await cpu.getAttribute('aria-valuenow')))
  await page.keyboard.press('Escape')
  await page.goto(base)
  await page.waitForSelector('h1')
  await page.keyboard.press('Tab')
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Skip to the page')
}

/** Dragging in one chart of a machine shows that time in all of them, and so do the keys; a button shows the whole again. */
export async function zoom({ page, base }) {
  await page.goto(`${base}/machines`)
  await page.locator('tbody a[data-row]').first().click()
  const [cpu, network] = ['CPU', 'Network'].map((name) => page.getByRole('slider', { name: new RegExp(name) }))
  const [begin, end] = [() => network.getAttribute('aria-valuemin').then(Number), () => network.getAttribute('aria-valuemax').then(Number)]
  // Without figures a chart shows an hour, and with them as much as there is.
  for (const chart of [cpu, network]) {
    await chart.waitFor(patient)
    await page.waitForFunction((c) => /\d.*\d/.test(c.getAttribute('aria-valuetext') ?? ''), await chart.elementHandle(), patient)
  }
  const whole = (await end()) - (await begin())
  const box = await cpu.boundingBox()
  await page.mouse.move(box.x + box.width * 0.1, box.y + box.height / 2)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.8, box.y + box.height / 2, { steps: 3 })
  await page.mouse.up()
  await page.waitForURL(/\?from=\d+&to=\d+/, patient)
  const part = (await end()) - (await begin())
  assert.ok(part < whole * 0.75 && part > whole * 0.6, `${part} of ${whole} ms`)
  await page.getByRole('button', { name: 'Whole time' }).click()
  await page.waitForURL((url) => url.search === '', patient)
  assert.ok((await end()) - (await begin()) >= whole)
}

/** An alert names its techniques, packets and flows, and can be acknowledged. */
export async function alert({ page, base }) {
  await page.goto(`${base}/alerts?state=all`)
  await page.getByRole('row').filter({ hasText: 'picket/portscan' }).getByRole('link').first().click()
  await page.getByRole('link', { name: 'Open in full' }).click()
  await page.waitForURL(/\/alerts\/[^?]+$/, patient)
  await page.getByRole('region', { name: 'What was found' }).getByText('Network Service Discovery').waitFor(patient)
  await page.getByText(/frame\.number in \{\d/).waitFor()
  const flows = page.getByRole('group', { name: 'Flows' }).getByRole('row')
  assert.equal((await flows.count()) > 3, true)
  assert.match(await flows.nth(1).innerText(), /1:[A-Za-z0-9+/]{27}=/, 'a flow has its community id')
  for (const name of ['Risk', 'Confidence']) assert.ok(Number(await page.getByRole('meter', { name }).getAttribute('aria-valuenow')) > 0)
  await page.getByRole('region', { name: 'What else it could be' }).getByRole('listitem').first().waitFor()
  await page.getByRole('button', { name: 'Acknowledge' }).click()
  await page.getByRole('region', { name: 'Judgement' }).getByText('Acknowledged').waitFor(patient)
}

/** Lets a page read an answer of the API otherwise than it is, for what this server cannot be brought to. Returns the way back. */
export async function reading(page, path, change) {
  const at = (url) => url.pathname === path
  await page.route(at, async (route) => {
    if (route.request().method() !== 'GET') return route.fallback()
    const response = await route.fetch()
    const said = await response.json()
    change(said)
    await route.fulfill({ response, json: said })
  })
  return () => page.unroute(at)
}

const delivery = (id, more) => ({ id, notifier: `picket/${id}`, event: 'alert.firing', state: 'delivered', attempts: 1, time: new Date(Date.now() - 9e4).toISOString(), ...more })

/** Deliveries as systems outside answer them, which a test cannot reach. */
export const told = () => [
  delivery('block', { receipt: { foreign_id: 'picket_blocked/203.0.113.9', undoable: true }, outcome: 'open' }),
  delivery('ticket', { receipt: { foreign_id: 'PICKET-7', url: 'https://tickets.example/PICKET-7' }, outcome: 'closed', outcome_text: 'Won\u2019t fix' }),
  delivery('webhook', { receipt: { foreign_id: '1', url: 'javascript:alert(1)' }, outcome_text: 'the receiver does not answer' }),
]

/** What a notifier did is taken back once, after a question; a receipt's link leads only to the web. */
export async function undo({ page, base }) {
  const id = await firstAlert(page, base)
  const notices = told()
  await reading(page, `/api/v1/alerts/${id}`, (said) => (said.notices = notices))
  const asked = []
  await page.route(`**/api/v1/alerts/${id}/undo`, (route) => {
    asked.push(route.request().postDataJSON())
    notices[0].outcome = 'undone'
    return route.fulfill({ json: { undone: ['block'] } })
  })
  await page.goto(`${base}/alerts/${id}`)
  const region = page.getByRole('region', { name: 'Notices sent' })
  await region.getByText('PICKET-7').waitFor(patient)
  assert.equal(await region.getByRole('link').getAttribute('href'), 'https://tickets.example/PICKET-7')
  assert.equal(await region.getByRole('button').count(), 1, 'one of them can be undone')
  await region.getByRole('button', { name: 'Undo what picket/block did' }).click()
  await page.getByRole('dialog').getByText('picket_blocked/203.0.113.9').waitFor()
  assert.deepEqual(asked, [], 'nothing happens before the answer')
  await page.getByRole('dialog').getByRole('button', { name: 'Undo' }).click()
  await region.getByText('Taken back').waitFor(patient)
  assert.deepEqual(asked, [{ notice: 'block' }])
  assert.equal(await region.getByRole('button').count(), 0)
  await page.unrouteAll()
  await page.goto(`${base}/alerts/${id}`)
  // This server has told nobody, and says so when it is asked.
  const refused = await page.evaluate((path) => fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }).then((r) => r.status), `/api/v1/alerts/${id}/undo`)
  assert.ok([403, 404].includes(refused), `undoing nothing answers ${refused}`)
}

async function firstAlert(page, base) {
  await page.goto(`${base}/alerts?state=all`)
  const link = page.getByRole('row').getByRole('link').first()
  await link.waitFor(patient)
  return new URL(await link.getAttribute('href'), base).searchParams.get('open')
}

/** A dropped capture is analysed, and a file that is none fails with words, not with silence. */
export async function captures({ page, base }) {
  await page.goto(`${base}/captures`)
  await page.locator('input[type=file]').setInputFiles([
    { name: 'mine.pcap', mimeType: 'application/octet-stream', buffer: await readFile(sample) },
  ])
  const dropped = await page.evaluateHandle(() => {
    const carried = new DataTransfer()
    carried.items.add(new File(['hello, this is no capture\n'.repeat(50)], 'not a capture.txt', { type: 'text/plain' }))
    return carried
  })
  await page.getByRole('region', { name: 'Add captures' }).dispatchEvent('drop', { dataTransfer: dropped })
  await page.getByRole('row').filter({ hasText: 'mine.pcap' }).getByText('Done').waitFor({ timeout: 60_000 })
  await page.getByRole('link', { name: 'mine.pcap' }).click()
  await page.getByRole('region', { name: 'Alerts from this capture' }).getByText('picket/beacon').waitFor(patient)
  await page.goto(`${base}/captures`)
  const broken = page.getByText('not a capture.txt')
  await broken.first().waitFor(patient)
  // The server may refuse it at once or after the worker has looked; either way a sentence says why.
  const row = page.getByRole('row').filter({ hasText: 'not a capture.txt' })
  if ((await row.count()) > 0) {
    await row.getByText('Failed').waitFor({ timeout: 60_000 })
    await row.getByRole('link').click()
    assert.match(await page.getByRole('alert').innerText(), /capture|pcap/i)
  }
}

/** What runs shows what it costs; a notifier is enabled with consent, and a test notice arrives. */
export async function plugins({ page, base }) {
  await page.goto(`${base}/plugins`)
  const host = page.getByRole('row').filter({ hasText: 'Host metrics' })
  await host.getByText('Ready').waitFor(patient)
  assert.match(await host.innerText(), /MiB/, 'it shows its memory')
  await host.getByRole('link').click()
  await page.getByText('host.metrics').first().waitFor()
  const instance = page.getByRole('region', { name: /^On / })
  await instance.getByRole('button', { name: 'Restart' }).click()
  await page.getByText('Restart asked for.').waitFor(patient)
  // Its process may be that of others, too, and stay.
  await page.getByRole('region', { name: 'History' }).getByText('Stopping').first().waitFor(patient)
  await instance.getByText('Ready').first().waitFor(patient)

  const arrived = []
  const receiver = createServer((req, res) => {
    let body = ''
    req.on('data', (c) => (body += c))
    req.on('end', () => {
      arrived.push(JSON.parse(body))
      res.end()
    })
  })
  await new Promise((ready) => receiver.listen(0, '127.0.0.1', ready))
  try {
    await page.goto(`${base}/plugins/picket/webhook`)
    await page.getByRole('button', { name: 'Enable' }).first().click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('button', { name: 'Enable' }).click()
    await dialog.getByText('This is needed.').waitFor()
    await dialog.getByText('It cannot work without this.').first().waitFor()
    await dialog.getByRole('textbox', { name: 'URL' }).fill(`http://127.0.0.1:${receiver.address().port}/hook`)
    for (const box of await dialog.getByRole('checkbox').all()) if (await box.isVisible()) await box.check()
    await dialog.getByRole('button', { name: 'Enable' }).click()
    await dialog.waitFor({ state: 'detached', timeout: 30_000 })
    await page.getByRole('region', { name: 'On the server' }).getByText('Ready').waitFor(patient)
    await page.getByRole('button', { name: 'Send a test notice' }).click()
    await page.getByText('The test notice was delivered.').waitFor(patient)
    assert.equal(arrived.length > 0, true)
    assert.equal(arrived[0].event, 'test')
    await page.getByRole('button', { name: 'Disable' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
    await page.getByText('Not enabled').first().waitFor(patient)
  } finally {
    receiver.close()
  }
}

/** An instance tells what it may do, what holds it, what it costs and what happened to it. */
export async function instance({ page, base }) {
  await page.goto(`${base}/plugins/picket/portscan`)
  const region = (name) => page.getByRole('region', { name, exact: true })
  await region('On the server').getByText('Ready').waitFor(patient)
  const grant = region('Permissions').getByRole('row').filter({ hasText: 'flows.read' })
  assert.equal(await grant.getByRole('cell').nth(1).innerText(), 'Granted')
  assert.match(await region('Confinement').innerText(), /Level [ABC]/)
  const history = region('History').getByRole('listitem')
  assert.match(await history.last().innerText(), /^(Waiting|Starting)/, 'the oldest is its start')
  const memory = region('Limits').getByRole('meter', { name: 'Memory' })
  const [now, most] = await Promise.all(['aria-valuenow', 'aria-valuemax'].map((a) => memory.getAttribute(a)))
  assert.ok(Number(now) > 0 && Number(now) < Number(most), `memory ${now} of ${most}`)
  const used = region('Use over time').getByRole('slider', { name: /^Memory/ })
  await page.waitForFunction((e) => /MiB/.test(e.getAttribute('aria-valuetext')), await used.elementHandle(), patient)
  await region('Versions').getByText('runs 0.1.0').waitFor()

  await page.getByRole('button', { name: 'Explain' }).click()
  const chain = page.getByRole('dialog', { name: 'Why it may run' })
  await chain.getByText('What holds the process to that.').waitFor(patient)
  const said = await chain.innerText()
  for (const link of ['Root, SHA-256', 'Keys', 'Descriptor, SHA-256', 'Program, SHA-256', 'Pinned grants, SHA-256']) {
    assert.match(said, new RegExp(`${link}\\s+[0-9a-f]{64}\\b`), `${link} is missing`)
  }
  await page.keyboard.press('Escape')
  await chain.waitFor({ state: 'detached', timeout: 30_000 })
}

/** A plugin's own page gets its metrics and nothing else; its log can be narrowed. */
export async function frame({ page, base }) {
  await page.goto(`${base}/plugins/picket/probe`)
  await page.getByRole('button', { name: 'Enable' }).first().click()
  const dialog = page.getByRole('dialog')
  const targets = dialog.getByRole('combobox', { name: 'Targets' })
  for (const target of [`${base}/healthz`, 'tcp://127.0.0.1:1']) {
    await targets.fill(target)
    await targets.press('Enter')
  }
  for (const box of await dialog.getByRole('checkbox').all()) await box.check()
  await dialog.getByRole('button', { name: 'Enable' }).click()
  await dialog.waitFor({ state: 'detached', timeout: 30_000 })
  await page.getByRole('region', { name: /^On / }).getByText('Ready').waitFor(patient)

  const element = page.locator('iframe')
  assert.equal(await element.getAttribute('sandbox'), 'allow-scripts')
  assert.ok(await element.getAttribute('title'))
  const own = await (await element.elementHandle()).contentFrame()
  await own.getByText(/the slowest answer took \d/).waitFor({ timeout: 60_000 })
  const reach = await own.evaluate(() => {
    try {
      return parent.document.title
    } catch (error) {
      return error.name
    }
  })
  assert.equal(reach, 'SecurityError')
  assert.equal(await own.evaluate(() => self.origin), 'null')
  const high = () => element.evaluate((e) => e.clientHeight)
  // The page says its own height whenever that changes, so the test repeats itself.
  for (let i = 0; i < 50 && (await high()) !== 600; i++) {
    await own.evaluate(() => parent.postMessage({ type: 'picket.size', height: 600 }, '*'))
    await page.waitForTimeout(150)
  }
  assert.equal(await high(), 600)
  for (let i = 0; i < 50 && (await high()) !== 1200; i++) {
    await own.evaluate(() => {
      parent.postMessage({ type: 'picket.size', height: 1e6 }, '*')
      parent.postMessage({ type: 'picket.data', theme: 'dark', series: [] }, '*')
    })
    await page.waitForTimeout(150)
  }
  assert.equal(await high(), 1200)

  const log = page.getByRole('region', { name: 'Log' })
  await log.getByText(/no answer/).first().waitFor({ timeout: 60_000 })
  await log.getByText('Warnings').click()
  await log.getByText(/less serious than that/).waitFor()
}

/** An operator sets a limit where the manifest's is not right, and takes it back. */
export async function limits({ page, base }) {
  await page.goto(`${base}/plugins/picket/probe`)
  const dialog = page.getByRole('dialog', { name: 'Enable Probe' })
  const change = async (memory) => {
    await page.getByRole('button', { name: 'Change', exact: true }).click()
    await dialog.getByText('Limits, where').click()
    await dialog.getByRole('textbox', { name: 'Memory' }).fill(memory)
    for (const box of await dialog.getByRole('checkbox').all()) await box.check()
    await dialog.getByRole('button', { name: 'Save' }).click()
  }
  const shown = (text) => page.getByRole('region', { name: 'Limits' }).getByText(text).waitFor(patient)
  await change('a lot')
  const memory = dialog.getByRole('textbox', { name: 'Memory' })
  const stated = await memory.getAttribute('placeholder')
  assert.match(stated, /^\d+[KMG]i$/, 'what the manifest states stands in the empty field')
  await dialog.getByText('A size, for example 64Mi or 1Gi.').waitFor()
  await memory.fill('100 MiB')
  await dialog.getByRole('button', { name: 'Save' }).click()
  await dialog.waitFor({ state: 'detached', timeout: 30_000 })
  await shown('100 MiB')
  await change('')
  await dialog.waitFor({ state: 'detached', timeout: 30_000 })
  await shown(`${parseInt(stated)} ${stated.replace(/\d/g, '')}B`)
}

/** A machine is added by one command; this one takes an order. */
export async function machines({ page, base }) {
  await page.goto(`${base}/machines`)
  await page.getByRole('button', { name: 'Add a machine' }).first().click()
  await page.getByRole('dialog').getByRole('button', { name: 'Make the command' }).click()
  const line = await page.getByRole('dialog').getByLabel('command', { exact: true }).innerText(patient)
  assert.match(line, /pkt_\S{20,}/)
  await page.getByRole('dialog').getByText('Waiting for the machine').waitFor(patient)
  await page.getByRole('dialog').getByRole('button', { name: 'Done' }).click()

  const row = page.getByRole('row').filter({ hasText: 'Online' })
  await row.getByRole('checkbox').check()
  const chosen = page.getByRole('group', { name: 'What to do with the chosen machines' })
  await chosen.getByText('1 machine chosen').waitFor(patient)
  await chosen.getByRole('button', { name: 'Labels' }).click()
  await page.getByRole('dialog').getByLabel('Set these').fill('site=attic')
  await page.getByRole('dialog').getByRole('button', { name: 'Labels' }).click()
  await row.getByText('site=attic').waitFor(patient)
  await page.getByRole('searchbox').fill('no machine is called that')
  await page.getByText('No machines like that').waitFor(patient)
  await page.getByRole('button', { name: 'Clear filters' }).click()
  await page.getByRole('combobox', { name: 'Label' }).selectOption('site=attic')
  await page.waitForURL(/label=site/)
  await chosen.getByRole('button', { name: 'Forget' }).click()
  await page.getByRole('dialog').getByText('1 of them reports right now').waitFor(patient)
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await row.getByRole('link').first().click()
  await page.getByRole('button', { name: 'Collect now' }).click()
  await page.getByRole('region', { name: 'Commands' }).getByText('collect-now').first().waitFor(patient)
  await page.getByRole('region', { name: 'Commands' }).getByText('Done').first().waitFor(patient)
}

/** A machine that is shut out says so, and is let in again. */
export async function access({ page, base }) {
  await page.goto(`${base}/machines`)
  await page.getByRole('grid').getByRole('link').first().click()
  await page.getByRole('button', { name: 'Shut out' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Shut out' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached', timeout: 30_000 })
  await page.getByRole('button', { name: 'Let in again' }).click()
  await page.getByRole('button', { name: 'Shut out' }).waitFor(patient)
  await page.getByText('Online').first().waitFor({ timeout: 60_000 })
}

/** A token works until it is ended, and the audit log says so. */
export async function tokens({ page, base }) {
  await page.goto(`${base}/tokens`)
  await page.getByRole('button', { name: 'New token' }).first().click()
  await page.getByRole('dialog').getByLabel('Name').fill('e2e')
  await page.getByRole('dialog').getByRole('button', { name: 'Make token' }).click()
  const token = await page.getByLabel('token', { exact: true }).innerText(patient)
  const ask = () => fetch(`${base}/api/v1/plugins`, { headers: { Authorization: `Bearer ${token}` } }).then((r) => r.status)
  assert.equal(await ask(), 200)
  await page.getByRole('dialog').getByRole('button', { name: 'Done' }).click()
  await page.getByRole('button', { name: 'End token e2e' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'End' }).click()
  await page.getByRole('row').filter({ hasText: 'e2e' }).waitFor({ state: 'detached', timeout: 30_000 })
  assert.equal(await ask(), 401)
  await page.goto(`${base}/audit`)
  await page.getByText('token.create').first().waitFor(patient)
}

/** A server that is out of reach is named on the page, and the page recovers by itself. */
export async function outOfReach({ page, base }) {
  await page.goto(`${base}/alerts`)
  await page.waitForSelector('h1')
  await page.context().setOffline(true)
  try {
    await page.getByRole('alert').filter({ hasText: 'Picket does not answer.' }).waitFor({ timeout: 40_000 })
  } finally {
    await page.context().setOffline(false)
  }
  await page.getByRole('alert').filter({ hasText: 'Picket does not answer.' }).waitFor({ state: 'detached', timeout: 40_000 })
}

/** Without the live channel the page says so and goes on reading; when it is back, it is live again. */
export async function liveDown({ page, base }) {
  let blocked = true
  await page.routeWebSocket(/\/api\/v1\/live/, (socket) => {
    if (blocked) socket.close()
    else socket.connectToServer()
  })
  await page.goto(base)
  await page.getByText(/^Not live/).filter({ visible: true }).waitFor(patient)
  const cpu = page.getByRole('slider', { name: /CPU/ })
  await cpu.waitFor(patient)
  const before = await cpu.getAttribute('aria-valuetext')
  await page.waitForFunction((old) => document.querySelector('[role=slider]').getAttribute('aria-valuetext') !== old, before, patient)
  blocked = false
  await page.getByText('Live', { exact: true }).filter({ visible: true }).waitFor({ timeout: 60_000 })
}

/** The first administrator, by the one-time link; then out, and in again by password. */
export async function setUp({ page, base, link }) {
  await page.goto(base)
  await page.waitForURL(`${base}/setup`, patient)
  await page.getByText('one-time link').waitFor()
  await page.goto(link)
  await page.getByLabel('User name').fill('ada')
  await page.getByLabel('Password', { exact: true }).fill('short')
  await page.getByLabel('Password again').fill('other')
  await page.getByRole('button', { name: 'Create administrator' }).click()
  await page.getByText('At least 10 characters, please.').waitFor()
  await page.getByText('The two passwords differ.').waitFor()
  await page.getByLabel('Password', { exact: true }).fill('correct horse battery')
  await page.getByLabel('Password again').fill('correct horse battery')
  await page.getByRole('button', { name: 'Create administrator' }).click()
  await page.waitForURL(`${base}/welcome`, patient)
  await page.getByLabel('What this place is called').waitFor(patient)
  await page.goto(base)
  await page.getByText('No machine reports yet').waitFor(patient)

  // A session that ends elsewhere leads to the sign-in page, and back to where one was.
  const session = await page.context().cookies()
  await page.context().clearCookies()
  await page.getByRole('link', { name: 'Devices' }).first().click()
  await page.waitForURL(/\/signin\?next=%2Fdevices/, patient)
  await page.context().addCookies(session)
  await page.goto(base)

  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.waitForURL(`${base}/signin`, patient)
  await page.goto(`${base}/plugins?kind=detector`)
  await page.waitForURL(/\/signin\?next=/, patient)
  await page.getByLabel('User name').fill('ada')
  await page.getByLabel('Password', { exact: true }).fill('wrong')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('alert').waitFor(patient)
  await page.getByLabel('Password', { exact: true }).fill('correct horse battery')
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.waitForURL(`${base}/plugins?kind=detector`, patient)
  await page.getByRole('link', { name: 'ada' }).click()
  const change = async (current, wanted) => {
    await page.getByLabel('Current password').fill(current)
    await page.getByLabel('New password').fill(wanted)
    await page.getByLabel('Password again').fill(wanted)
    await page.getByRole('button', { name: 'Change password' }).click()
  }
  await change('not my password', 'battery staple horse')
  await page.getByRole('alert').waitFor(patient)
  await change('correct horse battery', 'battery staple horse')
  await page.getByText('Your password is changed.').waitFor(patient)
  await page.goto(`${base}/setup`)
  await page.getByText('Picket is already set up').waitFor(patient)
}
