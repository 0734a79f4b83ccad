// The marketplace and the fleet of the real picketd. What one server cannot be brought to is in market.mjs.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bin } from './server.mjs'

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

/** A new version goes to machines first and comes back by itself when it crashes; a good one stays; a revoked one stops. */
export async function rollout({ page, base, data }) {
  const home = join(tmpdir(), `picket-e2e-author-${process.pid}`)
  const picket = (...args) => execFileSync(join(bin, 'picket'), args, { encoding: 'utf8', stdio: 'pipe' })
  const keys = [join(data, 'registry'), '--keys', join(data, 'registry-keys')]
  const edit = (name, ...changes) => {
    const file = join(home, name)
    const before = readFileSync(file, 'utf8')
    const after = changes.reduce((text, [from, to]) => text.replace(from, to), before)
    assert.notEqual(after, before)
    writeFileSync(file, after)
  }
  const release = (version) => {
    edit('plugin.yaml', [/version: .*/, `version: ${version}`], [/runtimes: .*/, 'runtimes: [process]'])
    picket('plugin', 'publish', '--registry', ...keys, home)
  }
  try {
    picket('plugin', 'new', '--kind', 'collector', 'picket/hello', home)
    edit('plugin.yaml', [/title: .*/, 'title: Hello'])
    release('0.1.1')
    await page.goto(`${base}/market/picket/hello`)
    await page.getByRole('button', { name: 'Install' }).click(patient)
    await page.getByRole('dialog').getByText('to fetch').waitFor(patient)
    await page.getByRole('dialog').getByRole('button', { name: 'Install' }).click()
    await page.getByText('Version 0.1.1 is installed.').waitFor({ timeout: 60_000 })

    await page.goto(`${base}/fleet`)
    const row = page.getByRole('listitem').filter({ has: page.getByRole('button', { name: 'Updates of Hello' }) })
    await row.getByText('0.1.1', { exact: true }).waitFor(patient)
    const roll = async () => {
      await page.getByRole('button', { name: 'Roll out Hello' }).click(patient) // it comes without a reload
      await page.getByRole('dialog').getByText('nothing more and nothing less').waitFor(patient)
      await page.getByRole('dialog').getByRole('button', { name: 'Roll out' }).click()
    }
    edit('hello.go', ['return sink.Sample', 'panic("it divides by zero")\n\treturn sink.Sample'])
    release('0.2.0')
    await roll()
    const rollouts = page.getByRole('region', { name: 'Rollouts' })
    await rollouts.getByText(/it went back by itself: .*it divides by zero/).waitFor({ timeout: 60_000 })
    await rollouts.getByText('Rolled back').waitFor({ timeout: 60_000 })
    await row.getByText('should run 0.1.1').waitFor(patient)
    await row.getByText('0.1.1', { exact: true }).waitFor(patient)

    edit('hello.go', ['panic("it divides by zero")', ''])
    release('0.3.0')
    await row.getByText('Update to 0.3.0').waitFor(patient)
    await roll()
    await rollouts.getByRole('button', { name: /^Do not wait/ }).click(patient)
    await page.getByRole('dialog').getByRole('button', { name: 'Do not wait' }).click()
    await rollouts.getByText('Done').waitFor({ timeout: 60_000 })
    await row.getByText('should run 0.3.0').waitFor(patient)
    await row.getByText('0.3.0', { exact: true }).waitFor(patient)

    picket('registry', 'revoke', '--dir', ...keys, '--reason', 'It says hello to strangers.', 'picket/hello', '*')
    await page.goto(`${base}/plugins/picket/hello`)
    await page.getByText(/It says hello to strangers/).first().waitFor(patient)
    await page.getByText('Revoked').first().waitFor(patient)
    await page.getByRole('button', { name: 'Disable' }).click(patient)
    await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click()
    await page.getByText('Not enabled').first().waitFor(patient)
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

/** A file that is no release is refused with words. */
export async function publish({ page, base }) {
  await page.goto(`${base}/market/publish`)
  await page.locator('input[type=file]').setInputFiles([{ name: 'not-a-release.tar', mimeType: 'application/x-tar', buffer: Buffer.from('hello, this is no archive\n'.repeat(80)) }])
  assert.ok((await page.getByRole('alert').first().innerText(patient)).length > 30, 'it says what is wrong')
}
