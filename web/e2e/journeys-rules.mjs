// Custom rules, from the empty page: a mistake is told with its place, stored traffic shows what the rule would have found, it is saved,
// put to sleep and had back.
import assert from 'node:assert/strict'

const patient = { timeout: 60_000 }

const rule = (field) => `version: 1
rules:
  - id: any-lookup
    title: "{client} asked for {query}"
    on: dns
    when: ${field} != "" && !response
    samples:
      fires: [{query: www.example.org}]
      silent: [{query: www.example.org, response: true}]
`

export async function rules({ page, base }) {
  await page.goto(`${base}/rules`)
  await page.getByText('No rule is written yet').waitFor(patient)
  assert.ok(await page.getByRole('list').getByRole('link', { name: /resolver that is not ours/ }).count() > 0, 'examples to begin with')
  await page.getByRole('link', { name: 'Begin with an empty rule' }).click()
  const text = page.getByRole('textbox', { name: 'Rule', exact: true })
  await text.fill(rule('qery'))
  const problem = page.getByRole('button', { name: /did you mean query\?/ })
  await problem.waitFor(patient)
  assert.match(await problem.innerText(), /Line 6, column/)
  await problem.click()
  assert.match(await page.evaluate(() => { const a = document.activeElement; return a.value.slice(a.selectionStart) }), /^qery/, 'the caret is where the mistake is')
  assert.ok(await page.getByRole('button', { name: 'Save' }).isDisabled(), 'what is wrong is not saved')

  await text.fill(rule('query'))
  await page.getByText('Nothing is wrong').waitFor(patient)
  await page.getByText(/^Would have fired/).waitFor(patient)
  assert.equal(await page.getByText('as they should be').count(), 2)
  await page.getByLabel('Narrow the fields').fill('qtype')
  await page.getByRole('button', { name: /^qtype/ }).waitFor()
  await page.getByLabel('Severity').selectOption('low')
  assert.match(await text.inputValue(), /\n {4}severity: low\n/)
  await page.getByText('Nothing is wrong').waitFor(patient)
  await page.getByRole('button', { name: 'Save' }).click()
  const dialog = page.getByRole('dialog', { name: 'Save these rules' })
  await dialog.getByText('any-lookup').waitFor(patient)
  await dialog.getByRole('button', { name: 'Save' }).click()

  const row = page.locator('[data-rule="any-lookup"]')
  await row.getByText('runs', { exact: true }).waitFor(patient)
  await row.getByRole('button', { name: 'Disable any-lookup' }).click()
  await row.getByText('not enabled').waitFor(patient)
  await page.getByRole('button', { name: 'Versions' }).click()
  await page.getByRole('button', { name: 'Compare version 1' }).click()
  await page.getByRole('button', { name: 'Go back to version 1' }).click()
  await row.getByText('runs', { exact: true }).waitFor(patient)
  const file = await page.getByRole('link', { name: 'Export' }).getAttribute('href')
  assert.match(decodeURIComponent(file), /id: any-lookup/)
}
