// The marketplace, the fleet, the page of a plugin and publishing, as people use them, on the answers of the fixture: what a single real
// server cannot be brought to. The real thing is in journeys.mjs.
import assert from 'node:assert/strict'
import { watchedPage, withBrowser } from './browser.mjs'
import { startFixture } from './fixture/server.mjs'
import { look } from './look.mjs'

const patient = { timeout: 30_000 }
const param = (page, name) => new URL(page.url()).searchParams.get(name)

/** Somebody browses, searches without a mouse, and comes back to what was found. */
export async function browse({ page, base }) {
  await page.goto(`${base}/market`)
  await page.getByRole('region', { name: 'Recommended for your network' }).getByText('3 devices answer SNMP').waitFor(patient)
  assert.equal(await page.getByRole('navigation', { name: 'Kinds' }).getByRole('link').count(), 6)
  await page.keyboard.press('/')
  await page.keyboard.type('snmp')
  await page.getByText('2 results').waitFor(patient)
  assert.equal(param(page, 'q'), 'snmp')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowDown')
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'SNMP traps')
  await page.keyboard.press('ArrowUp')
  await page.keyboard.press('ArrowUp')
  assert.equal(await page.evaluate(() => document.activeElement.type), 'search', 'up from the first leads back')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'SNMP', level: 1 }).waitFor(patient)
  await page.goBack()
  await page.getByText('2 results').waitFor(patient)
  assert.equal(await page.getByRole('searchbox').inputValue(), 'snmp')
}

/** Filters are in the address, can be taken away one by one, and a slip of the pen is forgiven. */
export async function filter({ page, base }) {
  await page.goto(`${base}/market?kind=detector&tier=gold`)
  const filters = page.getByRole('complementary', { name: 'Filters' })
  assert.equal(await filters.getByRole('button', { name: /^Detectors/ }).getAttribute('aria-pressed'), 'true')
  await page.getByRole('button', { name: 'Remove the filter Gold' }).click()
  await page.waitForURL((u) => !u.searchParams.has('tier'), patient)
  await filters.getByRole('textbox', { name: 'Technique' }).fill('T1046')
  await page.keyboard.press('Enter')
  await page.getByText('1 result').waitFor(patient)
  await page.goto(`${base}/market?q=prtscan`)
  await page.getByText('Nothing fits that').waitFor(patient)
  await page.getByRole('link', { name: 'portscan' }).click()
  await page.getByRole('list', { name: 'Results' }).getByRole('link', { name: 'Port scans' }).waitFor(patient)
  await page.goto(`${base}/market?sort=name`)
  await page.getByText('1,000 results').waitFor(patient)
  await page.getByRole('button', { name: 'Next' }).click()
  await page.getByText('Page 2 of 20').waitFor(patient)
  assert.equal(param(page, 'page'), '2')
}

/** A card never calls a check passed that did not run, and offers nothing that is revoked. */
export async function judge({ page, base }) {
  await page.goto(`${base}/market/acme/modbus`)
  const checks = page.getByRole('region', { name: 'Checks' })
  const rebuild = checks.getByRole('listitem').filter({ hasText: 'built again' }).first()
  assert.match(await rebuild.innerText(patient), /Not checked/)
  assert.equal(await rebuild.locator('[data-tone]').getAttribute('data-tone'), 'warn')
  assert.match(await checks.innerText(), /Bronze/, 'a check that did not run caps the tier, though the card says silver')
  const chain = page.getByRole('region', { name: 'Who vouches for it' }).getByRole('listitem')
  assert.match(await chain.first().innerText(), /root[\s\S]*3 of 5 keys/)
  assert.match(await chain.last().innerText(), /This release/)
  await page.goto(`${base}/market/shady/freebies`)
  await page.getByRole('alert').getByText('stolen').waitFor(patient)
  await page.getByText('Vouched for by the online key only').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Install' }).count(), 0)
  await page.goto(`${base}/market/acme/snmp-traps`)
  await page.getByText('Development trust.').waitFor(patient)
  await page.getByText('withdrawn by its author').waitFor()
}

/** Who may not install is not asked to. */
export async function watchOnly({ page, base, state }) {
  state.role = 'SUP'
  try {
    await page.goto(`${base}/market/picket/snmp`)
    await page.getByRole('heading', { name: 'SNMP', level: 1 }).waitFor(patient)
    assert.equal(await page.getByRole('button', { name: /^Install|^Update/ }).count(), 0)
    await page.goto(`${base}/fleet`)
    await page.getByRole('region', { name: 'Rollouts' }).waitFor(patient)
    assert.equal(await page.getByRole('button', { name: /Pause|Halt/ }).count(), 0)
  } finally {
    state.role = 'ADM'
  }
}

/** Exactly the grants that are asked for, the settings, and then each step until it works. */
export async function install({ page, base }) {
  await page.goto(`${base}/market/picket/snmp`)
  await page.getByRole('button', { name: 'Install' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('2 things to fetch').waitFor(patient)
  assert.equal(await dialog.getByRole('checkbox', { checked: true }).count(), 0, 'nothing is granted beforehand')
  await dialog.getByRole('button', { name: 'Install' }).click()
  await dialog.getByText('It cannot work without this.').first().waitFor()
  await page.waitForFunction(() => document.activeElement?.getAttribute('role') === 'combobox', null, patient)
  await dialog.getByRole('combobox', { name: 'Targets' }).fill('192.0.2.1')
  await page.keyboard.press('Enter')
  await dialog.getByRole('textbox', { name: 'Community' }).fill('public')
  await dialog.getByText('to 192.0.2.1').waitFor()
  await dialog.getByRole('checkbox', { name: /net\.dial/ }).check()
  await dialog.getByRole('checkbox', { name: /secret\.read/ }).check()
  const sent = page.waitForRequest((r) => r.url().endsWith('/install') && r.method() === 'POST', patient)
  await dialog.getByRole('button', { name: 'Install' }).click()
  const body = (await sent).postDataJSON()
  assert.deepEqual(body.grants, ['net.dial', 'secret.read'], 'the optional one was not granted')
  assert.deepEqual(body.secrets, { community: 'public' })
  await dialog.getByText('Version 1.5.0 is installed.').waitFor(patient)
}

/** A failure says what went wrong and what was taken back; a conflict is told before anything happens. */
export async function installFails({ page, base }) {
  await page.goto(`${base}/market/picket/mdns`)
  await page.getByRole('button', { name: 'Install' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('combobox', { name: 'Targets' }).fill('192.0.2.1')
  await page.keyboard.press('Enter')
  await dialog.getByRole('textbox', { name: 'Community' }).fill('public')
  for (const box of await dialog.getByRole('checkbox').all()) await box.check()
  await dialog.getByRole('button', { name: 'Install' }).click()
  const alert = dialog.getByRole('alert')
  await alert.getByText('address already in use').waitFor(patient)
  await alert.getByText('picket/oui 1.4.2, which it had brought, is removed').waitFor()
  await page.goto(`${base}/market/acme/modbus`)
  await page.getByRole('button', { name: 'Install' }).click()
  await dialog.getByText('needs picket/oui ^2.0').waitFor(patient)
  assert.equal(await dialog.getByRole('button', { name: 'Install' }).isDisabled(), true)
}

/** An update shows what it may do more, and goes to a few machines first when that is wanted. */
export async function update({ page, base, state }) {
  await page.goto(`${base}/market/picket/portscan`)
  await page.getByRole('button', { name: 'Update to 1.4.2' }).click()
  const dialog = page.getByRole('dialog', { name: 'Update Port scans from 1.3.0 to 1.4.2' })
  await dialog.getByText('No longer asked for').waitFor(patient)
  const notes = dialog.getByRole('region', { name: 'What changed' })
  assert.match(await notes.innerText(), /Waits for slow devices/)
  assert.doesNotMatch(await notes.innerText(), /First release/, 'only what lies between the two')
  await dialog.getByRole('button', { name: 'Update', exact: true }).click()
  await dialog.getByText('It cannot work without this.').waitFor(patient)
  await page.goto(`${base}/fleet`)
  await page.getByRole('button', { name: 'Pause: SNMP' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
  await page.getByRole('region', { name: 'Rollouts' }).getByText('Paused').waitFor(patient)
  await page.getByRole('button', { name: 'Go on: SNMP' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Go on' }).click()
  await page.getByRole('region', { name: 'Rollouts' }).getByText('First machines').waitFor(patient)
  await page.getByRole('button', { name: 'Go on: Ping sweep' }).click()
  await page.getByRole('dialog').getByText('grants all that it asks for').waitFor(patient)
  await page.keyboard.press('Escape')
  assert.deepEqual(state.started, [])
}

/** A policy is set by hand and says what it never does. */
export async function policy({ page, base }) {
  await page.goto(`${base}/fleet`)
  await page.getByRole('button', { name: 'Updates of SNMP' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('never taken by itself').waitFor(patient)
  await dialog.getByRole('radio', { name: 'Repairs and new features' }).check()
  const sent = page.waitForRequest((r) => r.method() === 'PUT' && r.url().endsWith('/updates'), patient)
  await dialog.getByRole('button', { name: 'Save' }).click()
  assert.deepEqual((await sent).postDataJSON(), { auto: 'minor', cooldown_days: 7, group: 'all' })
  await dialog.waitFor({ state: 'detached', timeout: 30_000 })
  const group = page.getByRole('combobox', { name: 'Group of lab', exact: true })
  await group.fill('Not Allowed')
  await page.getByText('Lower-case letters, digits and dashes.').waitFor()
  await group.fill('edge')
  const moved = page.waitForRequest((r) => r.method() === 'PUT' && r.url().endsWith('/group'), patient)
  await page.keyboard.press('Enter')
  assert.deepEqual((await moved).postDataJSON(), { group: 'edge' })
}

const archive = (content) => [{ name: 'acme-modbus-1.5.0.tar', mimeType: 'application/x-tar', buffer: Buffer.from(content) }]

/** An author learns what to mend, and sees the release once it is published. */
export async function publish({ page, base }) {
  await page.goto(`${base}/market/publish`)
  await page.locator('input[type=file]').setInputFiles(archive('a secret'))
  await page.getByRole('alert').getByText('a private key lies in the archive').waitFor(patient)
  await page.getByText('Take the secret out and make a new one').waitFor()
  await page.locator('input[type=file]').setInputFiles(archive('clean'))
  await page.getByText('Published', { exact: true }).waitFor(patient)
  await page.getByRole('link', { name: 'See its card' }).click()
  await page.getByRole('heading', { name: 'Modbus writes', level: 1 }).waitFor(patient)
}

/** A publisher's page leads to what they offer. */
export async function publisher({ page, base }) {
  await page.goto(`${base}/publishers/acme`)
  await page.getByText('plugins@acme.example').waitFor(patient)
  await page.getByRole('link', { name: 'Modbus writes' }).click()
  await page.getByRole('link', { name: 'acme', exact: true }).click()
  await page.getByRole('heading', { name: 'acme', level: 1 }).waitFor(patient)
}

/** What was withdrawn is named with its reason and offered nowhere, neither forwards nor backwards. */
export async function withdrawn({ page, base }) {
  await page.goto(`${base}/plugins/acme/snmp-traps`)
  const versions = page.getByRole('region', { name: 'Versions' })
  await versions.getByRole('list', { name: 'Withdrawn versions' }).getByText('Counts twice after a restart.').waitFor(patient)
  const offered = await versions.getByRole('combobox', { name: 'Other version' }).locator('option').allInnerTexts()
  assert.deepEqual(offered.filter((v) => v === '1.4.2' || v === '1.4.0'), [])
  assert.ok(offered.includes('1.3.0'))
  assert.equal(await versions.getByRole('button', { name: 'Roll back' }).count(), 0, 'the version before was withdrawn')
  await page.goto(`${base}/plugins/shady/freebies`)
  await page.getByRole('region', { name: 'Updates' }).getByText('Every version is revoked').waitFor(patient)
  await versions.getByRole('list', { name: 'Withdrawn versions' }).waitFor(patient)
  assert.equal(await versions.getByRole('button', { name: /Upgrade|older|Roll back/ }).count(), 0)
}

/** Four charts of what a collector measures, and the others when they are wanted. */
export async function measures({ page, base }) {
  await page.goto(`${base}/plugins/acme/snmp-traps`)
  const own = page.getByRole('region', { name: 'What it measures' })
  await own.getByText('5 of 9 series').waitFor(patient)
  assert.equal(await own.getByRole('slider').count(), 4)
  await own.getByRole('button', { name: 'Show 3 more' }).click()
  assert.equal(await own.getByRole('slider').count(), 7)
}

/** Nothing goes before somebody has read what goes; what another plugin needs stays. */
export async function uninstall({ page, base, state }) {
  await page.goto(`${base}/plugins/shady/freebies`)
  await page.getByRole('button', { name: 'Uninstall' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('It stops on 1 machine.').waitFor(patient)
  await dialog.getByRole('button', { name: 'Uninstall' }).click()
  await dialog.getByRole('alert').getByText('acme/reports needs it').waitFor(patient)
  await page.goto(`${base}/plugins/acme/snmp-traps`)
  await page.getByRole('button', { name: 'Uninstall' }).click()
  await dialog.getByText('It stops on 3 machines.').waitFor(patient)
  const sent = page.waitForRequest((r) => r.method() === 'POST' && r.url().endsWith('/plugins/acme/snmp-traps/uninstall'), patient)
  await dialog.getByRole('button', { name: 'Uninstall' }).click()
  await sent
  await page.getByRole('status').getByText('Nothing needs acme/mibs now').waitFor(patient)
  assert.equal(new URL(page.url()).pathname, '/plugins')
  state.role = 'IT'
  try {
    await page.goto(`${base}/plugins/acme/snmp-traps`)
    await page.getByRole('region', { name: 'Versions' }).waitFor(patient)
    assert.equal(await page.getByRole('button', { name: 'Uninstall' }).count(), 0)
  } finally {
    state.role = 'ADM'
  }
}

/** What a group runs for itself stands beside what all run. */
export async function groups({ page, base }) {
  await page.goto(`${base}/fleet`)
  await page.getByRole('list', { name: 'What groups should run instead' }).getByText('group lab: 1.5.0').waitFor(patient)
  await page.getByText('2 should run another').waitFor(patient)
}

const journeys = { browse, filter, judge, watchOnly, install, installFails, update, policy, publish, publisher, withdrawn, measures, uninstall, groups }

const opened = (path, button, text) => async (page, base) => {
  await page.goto(base + path)
  await page.getByRole('button', { name: button }).first().click()
  await page.getByRole('dialog').getByText(text).first().waitFor()
}

const places = (base) => {
  const at = (open) => (page) => open(page, base)
  return {
    market: '/market', 'market-search': '/market?q=network', 'market-none': '/market?q=zzzz', 'market-card': '/market/picket/snmp', 'market-detector': '/market/picket/portscan',
    'market-model': '/market/picket/dga-trees', 'market-data': '/market/picket/oui', 'market-revoked': '/market/shady/freebies', 'market-yanked': '/market/acme/snmp-traps',
    'market-install': at(opened('/market/picket/snmp', 'Install', 'to fetch')), 'market-conflict': at(opened('/market/acme/modbus', 'Install', 'cannot be installed')),
    'market-update': at(opened('/market/picket/portscan', 'Update to', 'No longer asked for')), 'market-report': at(opened('/market/picket/snmp', 'Report', 'What you saw')),
    'plugin-collector': '/plugins/acme/snmp-traps', 'plugin-revoked': '/plugins/shady/freebies', 'plugin-uninstall': at(opened('/plugins/acme/snmp-traps', 'Uninstall', 'It stops on')),
    publisher: '/publishers/acme', publish: '/market/publish', fleet: '/fleet', 'fleet-rollout': at(opened('/fleet', 'Roll out Ping sweep', 'Go first')), 'fleet-policy': at(opened('/fleet', 'Updates of SNMP', 'never taken')),
  }
}

/** All of it. `step` runs and reports one; pictures go to `dir`. */
export async function marketplace(step, dir) {
  const fixture = await startFixture()
  try {
    await withBrowser({ viewport: { width: 1280, height: 860 } }, async (context) => {
      for (const [name, work] of Object.entries(journeys)) {
        const { page, faults } = await watchedPage(context, fixture.base)
        await step(`marketplace: ${name}`, async () => {
          await work({ page, ...fixture })
          // The fixture has no live channel.
          const real = faults.filter((f) => !/WebSocket/.test(f))
          if (real.length > 0) throw new Error(real.join('\n'))
        })
        await page.close()
      }
    })
    await step('marketplace: every page in two widths, light and dark, with axe', async () => {
      const wrong = (await look(fixture.base, async () => {}, places(fixture.base), dir)).filter((w) => !/WebSocket/.test(w))
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    })
  } finally {
    await fixture.stop()
  }
}
