// Working through alerts with the keyboard, and the ATT&CK matrix.
import assert from 'node:assert/strict'

const patient = { timeout: 30_000 }

const focused = (page) => page.evaluate(() => document.activeElement?.closest('tr')?.getAttribute('aria-rowindex') ?? document.activeElement?.tagName)

/** Keys walk through the list, show an alert beside it, and move it on; what the server refuses comes back. */
export async function triage({ page, base }) {
  await page.goto(`${base}/alerts`)
  const rows = page.getByRole('grid').locator('tbody tr')
  await rows.first().waitFor(patient)
  const before = await rows.count()
  assert.ok(before >= 2, `${before} alerts fire`)
  assert.equal(await page.locator('[data-row][tabindex="0"]').count(), 1, 'one row has the tabstop')

  await page.keyboard.press('j')
  assert.equal(await focused(page), '2')
  await page.keyboard.press('ArrowDown')
  assert.equal(await focused(page), '3')
  await page.keyboard.press('k')
  assert.equal(await focused(page), '2')
  await page.keyboard.press('Enter')
  const title = await rows.first().getByRole('link').innerText()
  const preview = page.getByRole('region', { name: `Preview: ${title}` })
  await preview.getByRole('meter', { name: 'Confidence' }).waitFor(patient)
  await preview.getByRole('link', { name: /packets?$/ }).first().waitFor(patient)
  assert.equal(await focused(page), '2', 'the list keeps the focus')
  assert.equal(await rows.first().getAttribute('aria-selected'), 'true')
  await page.keyboard.press('j')
  await page.getByRole('region', { name: `Preview: ${await rows.nth(1).getByRole('link').innerText()}` }).waitFor(patient)
  await page.keyboard.press('Enter')
  assert.equal(await focused(page), 'H2', 'Enter on the open alert leads into it')
  await page.keyboard.press('Escape')
  await page.getByRole('heading', { name: /^Preview/ }).waitFor({ state: 'detached' })
  assert.equal(await focused(page), '3')

  await page.keyboard.press('?')
  const help = page.getByRole('dialog', { name: 'Keys of this page' })
  await help.getByText('Acknowledge it').waitFor(patient)
  await help.getByRole('switch').click()
  await page.keyboard.press('Escape')
  await help.waitFor({ state: 'detached' })
  const at = await focused(page)
  await page.keyboard.press('k')
  assert.equal(await focused(page), at, 'letters that are switched off do nothing')
  await page.getByRole('button', { name: 'Keys' }).click()
  await help.getByRole('switch').click()
  await page.keyboard.press('Escape')
  await help.waitFor({ state: 'detached' })

  // The server refuses: the alert comes back, and why is said.
  const acknowledge = /\/acknowledge$/
  await page.route(acknowledge, (route) => route.fulfill({ status: 503, json: { title: 'Busy', status: 503, detail: 'not now' }, headers: { 'Content-Type': 'application/problem+json' } }))
  await rows.first().getByRole('link').focus()
  await page.keyboard.press('a')
  await page.getByText('not now').waitFor(patient)
  assert.equal(await rows.count(), before)
  assert.equal(await rows.first().getByRole('link').innerText(), title)
  await page.unroute(acknowledge)
  const other = rows.filter({ hasNotText: 'picket/portscan' }).first().getByRole('link') // the journey after this one acknowledges that one
  const its = await other.innerText()
  await other.focus()
  await page.keyboard.press('a')
  await page.getByText(`Acknowledged: ${its}`).waitFor(patient)
  assert.equal(await rows.count(), before - 1)
  assert.match(await focused(page), /^\d+$/, 'the next alert has the focus')

  await page.getByText('All', { exact: true }).click()
  await page.waitForURL(/state=all/)
  await page.keyboard.press('Escape')
  await page.getByRole('heading', { name: 'Alerts', level: 1 }).focus()
  await page.keyboard.press('/')
  await page.keyboard.type('t1046')
  await page.keyboard.press('Enter')
  await page.waitForURL(/technique=T1046/)
  await page.waitForFunction(() => [...document.querySelectorAll('[role=grid] tbody tr')].every((r) => r.textContent.includes('portscan')), null, patient)
  await page.getByRole('button', { name: 'Do not narrow to technique T1046' }).click()
  await page.waitForURL((url) => !url.searchParams.has('technique'))
}

/** Techniques of alerts and of detectors stand in their columns; a count leads to its alerts. */
export async function attack({ page, base }) {
  await page.goto(`${base}/attack`)
  const discovery = page.getByRole('region', { name: 'Discovery' })
  const scan = discovery.getByRole('listitem').filter({ hasText: 'Network Service Discovery' })
  await scan.getByRole('link', { name: 'Port scan' }).waitFor(patient)
  assert.match(await scan.innerText(), /High|Medium|Low|Critical/, 'a severity in words')
  assert.match(await discovery.getByRole('listitem').filter({ hasText: 'Remote System Discovery' }).innerText(), /Watched by/)
  await page.getByText('The MITRE Corporation').first().waitFor()
  const few = await page.getByRole('listitem').count()
  await page.getByRole('switch', { name: 'Also what nothing watches' }).click()
  await page.waitForFunction((n) => document.querySelectorAll('main li').length > n + 100, few, patient)
  await page.getByText('Industrial control', { exact: true }).first().click()
  await page.getByRole('region', { name: 'Impair Process Control' }).waitFor(patient)
  await page.goto(`${base}/attack?technique=T1046`)
  await scan.getByRole('link', { name: /alerts?$/ }).click()
  await page.waitForURL(/\/alerts\?.*technique=T1046/)
  await page.getByRole('grid').getByRole('row').filter({ hasText: 'picket/portscan' }).first().waitFor(patient)
}
