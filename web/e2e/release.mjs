// The way of a release through the pages, step by step, for a test that does the rest around them: builds releases, kills
// servers, reads the API. Each line on standard input is a step, {"step", "base", …}; the answer is a line,
// {"seconds"} or {"error"}. The pages stay open between the steps, one for each server, so that what changes meanwhile
// has to appear by itself.
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { watchedPage, withBrowser } from './browser.mjs'

const pictures = fileURLToPath(new URL('../../e2e-artifacts/', import.meta.url))
const soon = { timeout: 60_000 }
const region = (page, name) => page.getByRole('region', { name, exact: true })
const dialog = (page) => page.getByRole('dialog')
const rollouts = (page) => region(page, 'Rollouts')
/** What Chromium says of a server without TLS that is not on this machine. */
const overHTTP = /Cross-Origin-Opener-Policy header has been ignored/
/** The newest rollout of a plugin is the first one of the list. */
const newest = (page, name) => rollouts(page).getByRole('listitem').filter({ has: page.getByRole('link', { name, exact: true }) }).first()
const row = (page, name) => page.getByRole('listitem').filter({ has: page.getByRole('button', { name: `Updates of ${name}` }) })

const steps = {
  /** The first administrator, by the link that picketd printed. */
  async setUp({ page, link }) {
    await page.goto(link)
    await page.getByLabel('User name').fill('ada', soon)
    await page.getByLabel('Password', { exact: true }).fill('correct horse battery')
    await page.getByLabel('Password again').fill('correct horse battery')
    await page.getByRole('button', { name: 'Create administrator' }).click()
    await page.waitForURL(/\/welcome$/, soon)
  },

  /** An author hands a release in and sees which checks it passed. */
  async publish({ page, base, file, version }) {
    await page.goto(`${base}/market/publish`)
    await page.locator('input[type=file]').setInputFiles(file)
    await page.getByRole('status').getByText('Published', { exact: true }).waitFor(soon)
    await page.getByText('Files are safe to unpack').waitFor()
    await page.getByRole('link', { name: 'See its card' }).click()
    await region(page, 'At a glance').getByText(version).waitFor(soon)
  },

  /** Found by its name in the marketplace, and judged by its card. */
  async find({ page, base, name, version, reason }) {
    await page.goto(`${base}/market`)
    await page.getByRole('searchbox').waitFor(soon)
    await page.keyboard.press('/')
    await page.keyboard.type(name.toLowerCase())
    const hit = page.getByRole('list', { name: 'Results' }).getByRole('listitem').filter({ has: page.getByRole('link', { name, exact: true }) })
    await hit.getByText('from corp').waitFor(soon)
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name, level: 1 }).waitFor(soon)
    await region(page, 'At a glance').getByText(version).waitFor(soon)
    await page.getByText(reason).waitFor()
    const chain = region(page, 'Who vouches for it')
    for (const link of ['Root of the registry', 'Claimed author', 'This release']) await chain.getByText(link).first().waitFor()
  },

  /** From its card into all machines, with the grants ticked one by one. */
  async install({ page, version }) {
    await page.getByRole('button', { name: 'Install' }).click(soon)
    await dialog(page).getByText('to fetch').waitFor(soon)
    const grants = dialog(page).getByRole('group', { name: 'It may' }).getByRole('checkbox')
    assert.equal(await dialog(page).getByRole('checkbox', { checked: true }).count(), 0, 'nothing is granted beforehand')
    const install = dialog(page).getByRole('button', { name: 'Install' })
    await install.click()
    assert.equal(await dialog(page).getByRole('list', { name: 'Steps' }).count(), 0, 'it is installed without what it needs')
    for (const box of await grants.all()) await box.check()
    await install.click()
    await dialog(page).getByText(`Version ${version} is installed.`).waitFor(soon)
    await dialog(page).getByRole('link', { name: 'Open its page' }).click()
  },

  /** What it brings, in the charts of every machine. */
  async data({ page, base, plugin, machines }) {
    await page.goto(`${base}/plugins/${plugin}`)
    for (const machine of machines) {
      await region(page, 'Running on').or(page.getByRole('table').first()).getByRole('link', { name: machine, exact: true }).click(soon)
      await region(page, `On ${machine}`).getByText('Ready').waitFor(soon)
      const records = await region(page, 'Use over time').getByRole('slider', { name: /^Records per second/ }).elementHandle(soon)
      await page.waitForFunction((e) => /passed[^,]*[1-9]/.test(e.getAttribute('aria-valuetext')), records, soon)
    }
  },

  async fleet({ page, base }) {
    await page.goto(`${base}/fleet`)
    await page.getByRole('heading', { name: 'Fleet', level: 1 }).waitFor(soon)
  },

  /** A new version to a few machines first. The button comes when the server has learned of the version. */
  async rollOut({ page, name, version, soak }) {
    await row(page, name).getByText(`Update to ${version}`).waitFor(soon)
    await page.getByRole('button', { name: `Roll out ${name}` }).click(soon)
    await dialog(page).getByText('nothing more and nothing less').waitFor(soon)
    await dialog(page).getByLabel('Go first').fill('30')
    await dialog(page).getByLabel('Must do well for').fill(soak)
    await dialog(page).getByText('3 machines, 1 of them first').waitFor()
    await dialog(page).getByRole('button', { name: 'Roll out' }).click()
    await dialog(page).waitFor({ state: 'detached', ...soon }) // or a server that is killed next leaves it open, unanswered
    await newest(page, name).getByText(/^First machines|^Rolling out/).first().waitFor(soon)
  },

  /** How a rollout stands, with the reason and the machines that it touched. */
  async rollout({ page, name, version, state, reason, touched }) {
    const one = newest(page, name)
    await one.getByText(version).first().waitFor(soon)
    await one.getByText(state, { exact: true }).first().waitFor(soon)
    if (reason) await one.getByText(new RegExp(reason)).first().waitFor(soon)
    if (touched === undefined) return
    await one.getByRole('button', { name: 'Show the machines' }).click()
    const nodes = one.getByRole('table').getByRole('row')
    assert.equal(await nodes.count(), 4)
    assert.equal(await nodes.filter({ hasText: 'Rolled back' }).count(), touched)
    assert.equal(await nodes.filter({ hasText: 'Waiting' }).count(), 3 - touched)
  },

  /** Somebody decides about a rollout that is under way. */
  async decide({ page, name, what }) {
    await newest(page, name).getByRole('button', { name: `${what}: ${name}` }).click(soon)
    await dialog(page).getByRole('button', { name: what, exact: true }).click()
    await dialog(page).waitFor({ state: 'detached', ...soon })
  },

  /** Every node that has it runs one version, well, or is in the state. */
  async runs({ page, name, version, nodes, state }) {
    const there = row(page, name).getByRole('list').getByRole('listitem').filter({ hasText: version }).first()
    await there.getByText(`${nodes} of ${nodes} node`).waitFor(soon)
    const all = there.getByRole('list').getByRole('listitem') // those that are well have no mark
    const so = all.filter(state ? { hasText: state } : { hasNot: page.locator('[data-tone]') })
    await so.nth(nodes - 1).waitFor(soon)
    if (!state) await row(page, name).getByText(`should run ${version}`).waitFor(soon)
  },

  /** Withdrawn by the registry: the banner says why, and every machine has stopped. */
  async revoked({ page, base, plugin, reason, machines }) {
    await page.goto(`${base}/plugins/${plugin}`)
    await page.getByRole('alert').getByText(reason).first().waitFor(soon)
    await page.getByRole('alert').getByRole('button', { name: 'Run it anyway' }).waitFor()
    const stopped = page.getByRole('table').first().getByRole('row').filter({ hasText: 'Revoked' })
    for (const machine of machines) await stopped.filter({ hasText: machine }).waitFor(soon)
    await page.goto(`${base}/market/${plugin}`)
    await page.getByRole('alert').getByText(reason).waitFor(soon)
    assert.equal(await page.getByRole('button', { name: 'Install' }).count(), 0)
  },

  /** The server is gone, and the page says so. */
  async away({ page, faults }) {
    await page.getByRole('alert').filter({ hasText: 'Picket does not answer.' }).waitFor(soon)
    faults.length = 0
  },

  /** It is back, and the page goes on by itself. */
  async back({ page, faults }) {
    await page.getByRole('alert').filter({ hasText: 'Picket does not answer.' }).waitFor({ state: 'detached', ...soon })
    faults.length = 0
  },

  /** Repairs are taken as soon as they are out. */
  async policy({ page, name }) {
    await page.getByRole('button', { name: `Updates of ${name}` }).click(soon)
    await dialog(page).getByRole('radio', { name: 'Repairs', exact: true }).check()
    await dialog(page).getByLabel('Days a release must be out').fill('0')
    await dialog(page).getByRole('button', { name: 'Save' }).click()
    await row(page, name).getByText('Takes repairs after 0 days').waitFor(soon)
  },

  /** Why a policy does not take what is newer. */
  async waits({ page, name, reason }) {
    await row(page, name).getByText(new RegExp(reason)).waitFor(soon)
  },

  /** The history of who did what. */
  async audit({ page, base, actions }) {
    await page.goto(`${base}/audit`)
    for (const action of actions) await page.getByText(action, { exact: true }).first().waitFor(soon)
  },
}

await mkdir(pictures, { recursive: true })
await withBrowser({ viewport: { width: 1280, height: 1100 }, reducedMotion: 'reduce' }, async (context) => {
  const open = new Map()
  const pageOf = async (base) => {
    if (!open.has(base)) open.set(base, await watchedPage(context, base))
    return open.get(base)
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const { step, ...asked } = JSON.parse(line)
    const { page, faults } = await pageOf(asked.base)
    const began = Date.now()
    const said = {}
    try {
      await steps[step]({ page, faults, ...asked })
      const wrong = faults.filter((f) => !overHTTP.test(f))
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    } catch (error) {
      said.error = `${error.stack ?? error}`
      await page.screenshot({ path: `${pictures}failed-release-${step}.png`, fullPage: true }).catch(() => {})
    }
    said.seconds = (Date.now() - began) / 1000
    process.stdout.write(`${JSON.stringify(said)}\n`)
  }
})
