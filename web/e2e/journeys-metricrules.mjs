// Rules over metrics, and who hears of them: a rule is written with its preview beside it, fires, is told in the inbox while that is open,
// and from there the way leads to the alert, its machine and its rule. One that ships is changed and set back.
import assert from 'node:assert/strict'

const patient = { timeout: 60_000 }

export async function metricRules({ page, base }) {
  await page.goto(`${base}/rules`)
  await page.getByText('Metrics', { exact: true }).click()
  await page.locator('[data-rule="disk-full"]').getByText('A disk is full').waitFor(patient)
  await page.getByRole('link', { name: 'New rule' }).click()
  await page.getByLabel('Name').fill('any-memory')
  await page.getByLabel('Title').fill('There is memory')
  await page.getByLabel('Finds').fill('system_memory_limit_bytes >')
  await page.getByLabel('For seconds').fill('0')
  await page.getByLabel('Ends after seconds').fill('0')
  await page.getByLabel('Looks every seconds').fill('5')
  await page.getByRole('alert').getByText(/parse error/).first().waitFor(patient)
  await page.getByLabel('Finds').fill('system_memory_limit_bytes > 0')
  await page.getByText(/^1 alert, about 1 series/).waitFor(patient)
  await page.getByRole('slider', { name: /What is compared/ }).waitFor(patient)
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('heading', { name: 'There is memory' }).waitFor(patient)

  await page.getByRole('navigation').getByRole('link', { name: 'Inbox' }).first().click()
  const notice = page.locator('[data-notice]').filter({ hasText: 'There is memory' }).first()
  await notice.waitFor(patient) // without a reload: it is told
  await page.getByRole('link', { name: /Inbox.*unread notice/ }).first().waitFor(patient)
  await notice.getByRole('link', { name: 'rule any-memory' }).waitFor()
  await notice.getByRole('link', { name: 'There is memory' }).click()
  await page.getByRole('link', { name: 'rule over metrics' }).click(patient)
  await page.getByRole('region', { name: 'For what it holds now' }).first().getByText('firing').first().waitFor(patient)
  await page.goto(`${base}/inbox?show=all`)
  await page.getByRole('button', { name: 'Mark as unread: There is memory' }).first().click(patient)
  await page.reload()
  await page.getByRole('button', { name: 'Mark as read: There is memory' }).first().waitFor(patient)

  await page.goto(`${base}/rules?kind=metrics`)
  await page.getByRole('button', { name: 'Disable any-memory' }).click(patient)
  await page.locator('[data-rule="any-memory"]').getByText('not enabled').waitFor(patient)
  await page.goto(`${base}/inbox`)
  await page.locator('[data-notice]').filter({ hasText: 'ended' }).first().waitFor(patient)
  await page.goto(`${base}/rules/metrics/any-memory`)
  await page.getByRole('button', { name: 'Delete' }).click(patient)
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await page.locator('[data-rule="disk-full"]').waitFor(patient)
  assert.equal(await page.locator('[data-rule="any-memory"]').count(), 0)

  await page.goto(`${base}/rules/metrics/disk-full`)
  await page.getByLabel('Severity').selectOption('critical')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByRole('button', { name: 'Set back' }).click(patient)
  await page.getByRole('dialog').getByRole('button', { name: 'Set back' }).click()
  await page.getByText('The rule disk-full is as it ships').waitFor(patient)
  await page.waitForFunction(() => [...document.querySelectorAll('select')].some((s) => s.value === 'high'))
}

/** A delivery as notifiers leave them behind that fail for good, and one that got through. */
export const deliveryRows = () => {
  const row = (id, state, more) => ({ id, notifier: 'picket/email', event: 'alert.firing', state, attempts: 1, time: new Date().toISOString(), created: new Date().toISOString(), alert_id: 'x', title: 'A disk is full', ...more })
  return [
    row('n3', 'failed', { attempts: 3, due: new Date(Date.now() + 60_000).toISOString(), last_error: 'mail through mail.example.org: dial tcp 192.0.2.1:587: connection refused' }),
    row('n2', 'dead', { last_error: 'mail through mail.example.org: the server does not offer STARTTLS' }),
    row('n1', 'delivered', { receipt: { foreign_id: 'picket.notice.0190@example.org' } }),
  ]
}

export async function deliveries({ page, base }) {
  let asked = ''
  await page.route('**/api/v1/deliveries**', (route) => {
    if (route.request().method() === 'POST') asked = new URL(route.request().url()).pathname
    return route.fulfill({ json: route.request().method() === 'POST' ? deliveryRows()[1] : { items: deliveryRows() } })
  })
  await page.goto(`${base}/deliveries`)
  const row = page.locator('[data-delivery="n2"]')
  await row.getByText('does not offer STARTTLS').waitFor(patient)
  await row.getByRole('button', { name: /^Send again/ }).click()
  await page.getByText('It is sent again').waitFor(patient)
  assert.equal(asked, '/api/v1/deliveries/n2/again')
  assert.equal(await page.locator('[data-delivery="n1"]').getByRole('button').count(), 0, 'what was delivered is not sent twice')
}
