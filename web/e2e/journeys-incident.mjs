// Incidents: the list by keyboard, one of them in full, judging, suppressing, and what others do shown at once.
import assert from 'node:assert/strict'

const patient = { timeout: 30_000 }

const read = (page, path) => page.evaluate((p) => fetch(p).then((r) => r.json()), path)

/** Does what somebody else would do elsewhere. */
const elsewhere = (page, path, body) => page.evaluate(([p, b]) => {
  const csrf = document.cookie.split('; ').find((c) => c.startsWith('picket_csrf='))?.slice('picket_csrf='.length) ?? ''
  return fetch(p, { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Picket-CSRF': decodeURIComponent(csrf) }, body: b && JSON.stringify(b) }).then((r) => r.status)
}, [path, body])

/** An incident with a host that acts, and one of its alerts. */
async function some(page) {
  for (const { id } of (await read(page, '/api/v1/incidents?sort=risk')).items) {
    const i = await read(page, `/api/v1/incidents/${id}`)
    const alert = i.alerts.find((a) => a.src)
    if (alert) return { incident: i, alert }
  }
  throw new Error('no incident has a host that acts')
}

/** From the list into an incident: its arithmetic, its course, its graph, its evidence, its owner, a note. */
export async function incidents({ page, base }) {
  await page.goto(`${base}/incidents`)
  const rows = page.getByRole('grid').locator('tbody tr')
  await rows.first().waitFor(patient)
  assert.equal(await page.locator('[data-row][tabindex="0"]').count(), 1, 'one row has the tabstop')
  assert.match(await rows.first().innerText(), /host/)
  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keys of this page' }).getByText('Close it', { exact: true }).waitFor(patient)
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })

  const { incident } = await some(page)
  await page.getByRole('heading', { level: 1 }).focus()
  await page.keyboard.press('j')
  const link = rows.getByRole('link', { name: incident.title, exact: true })
  for (let n = 0; n < await rows.count() && !(await link.evaluate((e) => e === document.activeElement)); n++) await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/incidents\/./)
  await page.getByRole('heading', { level: 1, name: incident.title }).waitFor(patient)

  const risk = page.getByRole('region', { name: 'Risk' })
  assert.equal(await risk.getByRole('meter', { name: 'Risk' }).getAttribute('aria-valuenow'), String(incident.risk))
  for (const step of incident.arithmetic) await risk.getByRole('row').filter({ hasText: step.why }).first().waitFor()

  const course = page.getByRole('region', { name: 'Course of the attack' })
  assert.ok(await course.getByRole('link').count() >= incident.alerts.length, 'each alert has a mark')
  await course.getByRole('link').first().focus()
  await course.getByText(incident.alerts[0].title).first().waitFor()

  const graph = page.getByRole('region', { name: 'Who did what to whom' })
  const node = graph.getByRole('button', { name: new RegExp(incident.entities[0].host.replaceAll('.', '\\.')) })
  await node.focus()
  await page.keyboard.press('Enter')
  assert.equal(await node.getAttribute('aria-pressed'), 'true')
  await graph.getByRole('link', { name: 'Its alerts' }).waitFor()
  await graph.getByText('Table', { exact: true }).click()
  await graph.getByRole('row').filter({ hasText: incident.entities[0].host }).first().waitFor()

  const alerts = page.getByRole('region', { name: 'Alerts', exact: true })
  await alerts.locator('summary').first().click()
  await alerts.getByRole('heading', { name: 'Evidence' }).waitFor(patient)
  await alerts.getByRole('link', { name: 'Open the alert' }).first().waitFor()

  const me = (await read(page, '/api/v1/me')).username
  const facts = page.getByRole('region', { name: 'Where it stands' })
  await facts.getByLabel('Who looks after it').selectOption(me)
  await page.getByText(`${me} looks after it.`).waitFor(patient)
  await facts.getByText('Acknowledged').waitFor(patient)
  await facts.getByLabel('Who looks after it').selectOption('')
  await facts.getByText('Open', { exact: true }).waitFor(patient)
  await page.getByLabel('New note').fill('Asked the owner of the machine.')
  await page.getByRole('button', { name: 'Keep the note' }).click()
  await page.getByRole('list', { name: 'Notes' }).getByText('Asked the owner of the machine.').waitFor(patient)

  // What happens elsewhere is shown at once, here and in the list.
  assert.equal(await elsewhere(page, `/api/v1/incidents/${incident.id}/close`), 200)
  await facts.getByText('Closed').waitFor(patient)
  await page.getByRole('button', { name: 'Open again' }).click()
  await facts.getByText('Open', { exact: true }).waitFor(patient)
  await page.goto(`${base}/incidents`)
  await link.waitFor(patient)
  assert.equal(await elsewhere(page, `/api/v1/incidents/${incident.id}/close`), 200)
  await link.waitFor({ state: 'detached', ...patient })
  assert.equal(await elsewhere(page, `/api/v1/incidents/${incident.id}/reopen`), 200)
  await link.waitFor(patient)

  const technique = incident.stages[0].techniques[0].id
  await page.goto(`${base}/attack?technique=${technique}`)
  await page.locator('[data-wanted]').getByRole('link', { name: /incidents?$/ }).first().click()
  await page.waitForURL((url) => url.pathname === '/incidents' && url.searchParams.get('technique') === technique)
  await link.waitFor(patient)
}

/** A false alarm lowers the risk, the page says so, and taking it back raises it again. */
export async function judging({ page, base }) {
  await page.goto(`${base}/incidents`)
  await page.getByRole('grid').waitFor(patient)
  const { incident, alert } = await some(page)
  await page.goto(`${base}/incidents/${incident.id}`)
  const panel = page.getByRole('region', { name: 'Feedback' })
  await panel.getByLabel('Why').fill('our own scanner')
  await panel.getByRole('button', { name: 'False alarm', exact: true }).click()
  await page.getByText(`The risk was ${incident.risk} and is 0.`).waitFor(patient)
  await page.getByText(/^Was \d+, is 0, because of what people judged:/).waitFor(patient)
  await panel.getByText('our own scanner').waitFor(patient)
  await page.goto(`${base}/alerts/${alert.id}`)
  await page.getByText(/was \d+ before anybody judged/).waitFor(patient)
  await page.getByRole('button', { name: /^Take back: False alarm/ }).first().click()
  await page.getByText('Taken back.').waitFor(patient)
  await page.getByText(/before anybody judged/).waitFor({ state: 'detached', ...patient })
  const after = await read(page, `/api/v1/incidents/${incident.id}`)
  assert.equal(after.judged, undefined)
  assert.ok(after.risk > 0, 'the risk is back')
}

/** The key s on an alert: what that would hide is shown first, and it stands in the list until it is revoked. */
export async function suppress({ page, base }) {
  await page.goto(`${base}/alerts`)
  await page.getByRole('grid').waitFor(patient)
  const { alert } = await some(page)
  await page.goto(`${base}/alerts?state=all&open=${alert.id}`)
  await page.getByRole('region', { name: /^Preview/ }).getByRole('link', { name: 'Its incident' }).waitFor(patient)
  await page.keyboard.press('s')
  const dialog = page.getByRole('dialog', { name: 'Suppress what is like this' })
  await dialog.getByText(/alerts? of \d+ of the last 30 days/).waitFor(patient)
  await dialog.getByLabel('From').fill('203.0.113.77')
  await dialog.getByText(/^None of the/).waitFor(patient)
  await dialog.getByLabel('From').fill('nonsense/99')
  await dialog.getByText(/this is no network/).waitFor(patient)
  await dialog.getByLabel('From').fill('203.0.113.77')
  await dialog.getByRole('button', { name: 'Suppress', exact: true }).click()
  await dialog.getByText('Say why, in a few words.').waitFor()
  await dialog.getByLabel('Reason').fill('Our scanner, until it moves.')
  await dialog.getByRole('button', { name: 'Suppress', exact: true }).click()
  await page.getByText(/^Suppressed until/).waitFor(patient)
  await dialog.waitFor({ state: 'detached' })
  await page.getByRole('link', { name: 'Suppressions' }).click()
  const row = page.getByRole('row').filter({ hasText: 'from 203.0.113.77' })
  await row.getByText('Active').waitFor(patient)
  assert.match(await row.innerText(), new RegExp(`${alert.rule} of ${alert.detector}`))
  await page.getByRole('region', { name: 'Warning lists' }).waitFor(patient)
  await row.getByRole('button', { name: /^Revoke/ }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click()
  await row.waitFor({ state: 'detached', ...patient })
}
