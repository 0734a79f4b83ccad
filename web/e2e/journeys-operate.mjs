// Exploring, SQL, the server's own health, its settings, the first steps.
import assert from 'node:assert/strict'

const patient = { timeout: 30_000 }

/** A query is written with completion, drawn, zoomed, compared, hidden, exported; an error says where it is; the address holds it all. */
export async function exploring({ page, base }) {
  await page.goto(`${base}/explore`)
  await page.getByText('Nothing asked yet').waitFor(patient)
  const editor = page.getByRole('textbox', { name: 'Query 1 in PromQL' })
  await editor.click()
  await page.keyboard.type('system_cpu_ti')
  await page.getByRole('option', { name: /system_cpu_time/ }).first().waitFor(patient)
  await page.keyboard.press('Escape')
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.press('Delete') // typing over a selection, the browser itself tries an inline style, which our policy refuses
  await page.keyboard.type('1 + ')
  await page.getByRole('button', { name: 'Run', exact: true }).click()
  await page.getByText(/^Line 1, column/).waitFor(patient)
  await editor.click()
  await page.keyboard.press('ControlOrMeta+A')
  await page.keyboard.press('Delete') // typing over a selection, the browser itself tries an inline style, which our policy refuses
  await page.keyboard.type('{__name__=~"picket_.+|system_memory.+"}', { delay: 5 })
  await page.getByRole('button', { name: 'Run', exact: true }).click()
  const rows = page.getByRole('region', { name: 'Series' }).last().getByRole('row')
  await rows.nth(3).waitFor(patient)
  const first = rows.nth(1).getByRole('button')
  await first.click()
  assert.equal(await first.getAttribute('aria-pressed'), 'false')
  await page.getByRole('button', { name: 'Show all' }).click()
  assert.equal(await first.getAttribute('aria-pressed'), 'true')
  await page.getByText('15m', { exact: true }).click()
  await page.waitForURL(/r=15m/, patient)

  const chart = page.getByRole('img', { name: /lines? over the chosen time/ })
  const box = await chart.boundingBox()
  await page.mouse.move(box.x + box.width * 0.5, box.y + 80)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width + 20, box.y + 80, { steps: 5 }) // a young server has measured only at the very end
  await page.mouse.up()
  await page.waitForURL(/from=\d+&to=\d+|from=\d+.*to=\d+/, patient)
  await page.getByRole('combobox', { name: 'Compare with' }).selectOption('1d')
  await page.waitForURL(/compare=/, patient)
  const address = page.url()
  await page.goto(`${base}/`)
  await page.goto(address)
  await rows.nth(3).waitFor(patient)

  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'CSV' }).click()])
  assert.match(file.suggestedFilename(), /\.csv$/)

  await page.goto(`${base}/explore`)
  await page.getByRole('button', { name: 'Build one' }).click()
  await page.getByRole('combobox', { name: 'Metric' }).or(page.getByRole('textbox', { name: 'Metric' })).first().fill('system_cpu_time_seconds_total')
  await page.keyboard.press('Escape')
  await page.getByRole('combobox', { name: 'Over time' }).selectOption('rate')
  await page.getByRole('combobox', { name: 'Together' }).selectOption('sum')
  await page.getByText('sum (rate(system_cpu_time_seconds_total[5m]))').waitFor(patient)
  await page.getByRole('button', { name: 'Use this query' }).click()
  await page.getByText(/1 series, a point every/).waitFor(patient)
}

/** An administrator asks in SQL; what is refused says why, and stands in the audit log. */
export async function sql({ page, base }) {
  await page.goto(`${base}/explore/sql`)
  const text = page.getByLabel("One SELECT, in DuckDB's SQL")
  const run = page.getByRole('button', { name: 'Run', exact: true })
  await text.fill('SELECT username, role FROM users')
  await run.click()
  await page.getByRole('cell', { name: 'ADM' }).first().waitFor(patient)
  await text.fill("COPY (SELECT 1) TO '/tmp/out'")
  await run.click()
  await page.getByText(/only SELECT is taken here/).first().waitFor(patient)
  await text.fill("SELECT metric, count(*) AS n FROM samples GROUP BY metric ORDER BY n DESC")
  await run.click()
  await page.getByRole('cell', { name: 'system.cpu.time' }).waitFor(patient)
  await page.getByText('Who did what.').waitFor(patient)
  await page.goto(`${base}/audit`)
  await page.getByText(/COPY \(SELECT 1\)/).first().waitFor(patient)
}

/** The server says how it is, with figures of its own. */
export async function health({ page, base }) {
  await page.goto(`${base}/system`)
  await page.getByRole('row', { name: /Samples \(DuckDB\)/ }).getByText('works').waitFor(patient)
  await page.getByRole('slider', { name: /Answers of the API/ }).waitFor(patient)
  await page.getByRole('region', { name: 'Disk' }).getByText(/are free/).waitFor(patient)
  await page.waitForFunction(() => [...document.querySelectorAll('figure')].some((f) => f.textContent?.includes('Memory') && /MiB|GiB/.test(f.textContent)), undefined, { timeout: 60_000 })
}

/** A backup is made and verified, retention previewed, a limit changed, a key of the file found. */
export async function settings({ page, base }) {
  await page.goto(`${base}/settings`)
  await page.getByRole('button', { name: 'Make a backup' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Holds').selectOption('config')
  await dialog.getByLabel('Passphrase', { exact: true }).fill('a long passphrase of words')
  await dialog.getByRole('button', { name: 'Begin' }).click()
  const made = page.getByRole('row', { name: /-config\.tar\.zst\.age/ }).first()
  await made.getByRole('button', { name: 'Verify' }).click({ timeout: 60_000 })
  await dialog.getByLabel('Passphrase, or key of age').fill('wrong')
  await dialog.getByRole('button', { name: 'Verify' }).click()
  await dialog.getByRole('alert').waitFor(patient)
  await dialog.getByLabel('Passphrase, or key of age').fill('a long passphrase of words')
  await dialog.getByRole('button', { name: 'Verify' }).click()
  await dialog.getByText(/It is whole/).waitFor(patient)
  await dialog.getByRole('button', { name: 'Close' }).click()

  const days = page.getByLabel('Samples: Days')
  await days.waitFor(patient)
  const other = (await days.inputValue()) === '20' ? '21' : '20'
  await days.fill(other)
  const panel = page.getByRole('region', { name: 'How long data is kept' }).first()
  await panel.getByRole('button', { name: 'Save' }).click()
  await dialog.getByText('Nothing is removed now.').waitFor(patient)
  await dialog.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Saved.').first().waitFor(patient)
  await page.reload()
  await page.waitForFunction((wanted) => document.querySelector('input[aria-label="Samples: Days"]')?.value === wanted, other, patient)

  await page.getByLabel('Find a key').fill('syslog')
  await page.getByRole('row', { name: /syslog\.address/ }).waitFor(patient)
  assert.equal(await page.getByRole('row', { name: /telemetry\./ }).count(), 0)
}

/** The first steps: a name, one left out, and at the end what arrives; a step can be come back to. */
export async function welcome({ page, base }) {
  await page.goto(`${base}/welcome?step=name`)
  await page.getByLabel('What this place is called').fill('Harbour')
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.getByRole('heading', { name: 'How long data is kept' }).waitFor(patient)
  await page.getByRole('button', { name: 'Leave out' }).click()
  await page.getByRole('heading', { name: 'What to watch' }).waitFor(patient)
  await page.getByText('enabled').first().waitFor(patient)
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.getByRole('heading', { name: 'First machine' }).waitFor(patient)
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.getByRole('heading', { name: 'Being told' }).waitFor(patient)
  await page.getByRole('button', { name: 'Leave out' }).click()
  await page.getByRole('heading', { name: 'Harbour is watched' }).waitFor(patient)
  await page.getByRole('slider', { name: /CPU/ }).waitFor(patient)
  await page.getByRole('button', { name: 'Name', exact: false }).first().click()
  assert.equal(await page.getByLabel('What this place is called').inputValue(), 'Harbour')
}

/** A harmless command runs at once and its output is read; a dangerous one waits for somebody else, and is called off. */
export async function commands({ page, base }) {
  const dialog = page.getByRole('dialog')
  const order = async (type) => {
    await page.goto(`${base}/commands`)
    await page.getByRole('button', { name: 'New command' }).click()
    await dialog.getByLabel('Command').selectOption(type)
  }
  await order('diagnose')
  await dialog.getByRole('button', { name: 'Send' }).click()
  await dialog.waitFor({ state: 'detached', timeout: 30_000 })
  await page.getByRole('row', { name: /diagnose/ }).getByText('Done').waitFor(patient)
  await page.getByRole('link', { name: 'diagnose' }).click()
  await page.waitForFunction(() => /\w{3}/.test(document.querySelector('[role=log][aria-busy=false]')?.textContent ?? ''), undefined, patient)

  await order('exec')
  await dialog.getByText('waits until a second person approves it').waitFor(patient)
  await dialog.getByLabel('Arguments').fill('{"path":')
  await dialog.getByText('This is no JSON.').waitFor(patient)
  assert.equal(await dialog.getByRole('button', { name: 'Send' }).isDisabled(), true)
  await dialog.getByLabel('Arguments').fill('{"path": "/bin/true"}')
  await dialog.getByRole('button', { name: 'Send' }).click()
  const waiting = page.getByRole('region', { name: 'Waiting for a second person' }).getByRole('row', { name: /exec/ })
  await waiting.getByText('another person must approve it').waitFor(patient)
  assert.equal(await waiting.getByRole('button', { name: 'Approve' }).count(), 0)
  await waiting.getByRole('link', { name: 'exec' }).click()
  await page.getByRole('button', { name: 'Call off' }).click()
  await dialog.getByRole('button', { name: 'Call off' }).click()
  await page.getByText('Cancelled').first().waitFor(patient)
}
