// The marketplace and the fleet of the real picketd. What one server cannot be brought to is in market.mjs.
import assert from 'node:assert/strict'

const patient = { timeout: 30_000 }

/** Found in the marketplace, judged by its card, installed with exactly the grants it asks for, and it runs. */
export async function market({ page, base }) {
  await page.goto(`${base}/market`)
  await page.getByRole('navigation', { name: 'Kinds' }).getByRole('link', { name: /Notifiers/ }).waitFor(patient)
  await page.keyboard.press('/')
  await page.keyboard.type('ntfi') // a slip of the finger
  const found = page.getByRole('list', { name: 'Results' }).getByRole('link', { name: 'ntfy' })
  await found.or(page.getByText('Did you mean')).first().waitFor(patient)
  await page.getByRole('searchbox').fill('ntfy')
  await found.waitFor(patient)
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'ntfy', level: 1 }).waitFor(patient)
  const chain = page.getByRole('region', { name: 'Who vouches for it' })
  await chain.getByText('Root of the registry').waitFor(patient)
  await chain.getByText('Development keys').waitFor()
  await page.getByRole('button', { name: 'Install' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('to fetch').waitFor(patient)
  assert.equal(await dialog.getByRole('checkbox', { checked: true }).count(), 0, 'nothing is granted beforehand')
  await dialog.getByRole('textbox', { name: 'Topic' }).fill('picket-e2e')
  await dialog.getByRole('checkbox', { name: /net\.dial/ }).check()
  await dialog.getByRole('button', { name: 'Install' }).click()
  await dialog.getByText('Version 0.1.0 is installed.').waitFor({ timeout: 60_000 })
  assert.equal(await dialog.getByRole('list', { name: 'Steps' }).getByText('Done').count() >= 5, true)
  await dialog.getByRole('link', { name: 'Open its page' }).click()
  await page.getByRole('region', { name: 'On the server' }).getByText('Ready').waitFor(patient)
  const grant = page.getByRole('region', { name: 'Permissions' }).getByRole('row')
  assert.equal(await grant.filter({ hasText: 'net.dial' }).getByRole('cell').nth(1).innerText().then((s) => s.split('\n')[0]), 'Granted')
  assert.match(await grant.filter({ hasText: 'secret.read' }).getByRole('cell').nth(1).innerText(), /Not granted/)
}

/** The fleet shows where it runs; how it is updated and which group a machine is in are set there, and the audit log says who did it. */
export async function fleet({ page, base }) {
  await page.goto(`${base}/fleet`)
  await page.getByRole('button', { name: 'Updates of ntfy' }).click(patient)
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('radio', { name: 'Repairs', exact: true }).check()
  await dialog.getByRole('button', { name: 'Save' }).click()
  await page.getByText(/Takes repairs after \d+ days/).waitFor(patient)
  const group = page.getByRole('combobox', { name: /^Group of/ }).first()
  await group.fill('lab')
  await group.press('Enter')
  await page.getByText(/is in the group lab/).waitFor(patient)
  await page.reload()
  await group.waitFor(patient)
  assert.equal(await group.inputValue(), 'lab')
  await group.fill('all')
  await group.press('Enter')
  await page.getByText(/is in the group all/).waitFor(patient)
  const lock = await page.evaluate(() => fetch('/api/v1/fleet/lock').then((r) => r.json()))
  assert.ok(JSON.stringify(lock).includes('picket/ntfy'), 'plugins.lock of the fleet names what was installed')
  await page.goto(`${base}/audit`)
  for (const action of ['plugin.install', 'plugin.updates', 'agent.group']) await page.getByText(action).first().waitFor(patient)
  await page.goto(`${base}/plugins/picket/ntfy`)
  await page.getByRole('button', { name: 'Disable' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
  await page.getByText('Not enabled').first().waitFor(patient)
}

/** A file that is no release is refused with words. */
export async function publish({ page, base }) {
  await page.goto(`${base}/market/publish`)
  await page.locator('input[type=file]').setInputFiles([{ name: 'not-a-release.tar', mimeType: 'application/x-tar', buffer: Buffer.from('hello, this is no archive\n'.repeat(80)) }])
  assert.ok((await page.getByRole('alert').first().innerText(patient)).length > 30, 'it says what is wrong')
}
