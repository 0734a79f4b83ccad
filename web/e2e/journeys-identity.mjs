// Accounts: second factors, passkeys, people, sessions, tokens with scopes, the audit log.
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { withBrowser } from './browser.mjs'

const patient = { timeout: 30_000 }

/** The code that an authenticator app shows, RFC 6238. */
export function code(secret, at = Date.now()) {
  let bits = ''
  for (const c of secret) bits += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)))
  const step = Buffer.alloc(8)
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)))
  const mac = createHmac('sha1', key).update(step).digest()
  const from = mac[19] & 15
  return String((mac.readUInt32BE(from) & 0x7fffffff) % 1_000_000).padStart(6, '0')
}

/** Waits until a code of a step that was not used yet can be typed. */
async function freshCode(page, secret, used) {
  while (Math.floor(Date.now() / 30_000) === used) await page.waitForTimeout(500)
  return code(secret)
}

const dialog = (page) => page.getByRole('dialog')
const shown = (page, label) => page.locator(`pre[aria-label="${label}"]`).innerText(patient)

async function signOut(page, base) {
  await page.getByRole('button', { name: 'Sign out', exact: true }).first().click()
  await page.waitForURL(`${base}/signin`, patient)
}

async function password(page, base, name, secret) {
  await page.goto(`${base}/signin`)
  await page.getByLabel('User name').fill(name)
  await page.getByLabel('Password', { exact: true }).fill(secret)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
}

/** Somebody is invited, chooses a password, sets up an app and a passkey, and signs in with each; then they are shut out. */
export async function people({ page, base }) {
  const local = base.replace('127.0.0.1', 'localhost') // passkeys belong to a name
  const secret = 'a long enough password'
  await page.goto(`${base}/users`)
  await page.getByRole('button', { name: 'Invite somebody' }).click()
  await dialog(page).getByLabel('User name').fill('grace')
  await dialog(page).getByLabel('Role').selectOption('IT')
  await dialog(page).getByRole('button', { name: 'Make the link' }).click()
  const link = (await shown(page, 'link')).replace(base, local)
  await dialog(page).getByRole('button', { name: 'Done' }).click()
  await page.getByRole('row', { name: /grace/ }).getByText('invited').waitFor(patient)

  await withBrowser({ viewport: { width: 1280, height: 860 } }, (other) => asGrace(other, { page, base, local, link, secret }))
}

async function asGrace(other, { page, base, local, link, secret }) {
  const grace = await other.newPage()
  const devtools = await other.newCDPSession(grace)
  await devtools.send('WebAuthn.enable')
  await devtools.send('WebAuthn.addVirtualAuthenticator', {
    options: { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true },
  })
  await grace.goto(link)
  await grace.waitForURL(`${local}/`, patient)
  assert.equal(await grace.getByRole('link', { name: 'People' }).count(), 0, 'IT looks after machines, not people')
  await grace.goto(`${local}/account`)
  await grace.getByLabel('New password', { exact: true }).fill(secret)
  await grace.getByLabel('Password again').fill(secret)
  await grace.getByRole('button', { name: 'Change password' }).click()
  await grace.getByText('Your password is changed.').waitFor(patient)

  await grace.getByRole('button', { name: 'Add an authenticator app' }).click()
  await dialog(grace).getByRole('button', { name: 'Begin' }).click()
  await grace.getByRole('img', { name: 'QR code for your authenticator app' }).waitFor(patient)
  const key = await shown(grace, 'secret')
  await dialog(grace).getByRole('textbox', { name: 'Code' }).fill('000000')
  await dialog(grace).getByRole('button', { name: 'Confirm' }).click()
  await dialog(grace).getByText('this code is wrong').first().waitFor(patient)
  let used = Math.floor(Date.now() / 30_000)
  await dialog(grace).getByRole('textbox', { name: 'Code' }).fill(code(key))
  await dialog(grace).getByRole('button', { name: 'Confirm' }).click()
  const recovery = (await shown(grace, 'Recovery codes')).trim().split('\n')
  assert.equal(recovery.length, 10)
  await dialog(grace).getByRole('button', { name: 'Done' }).click()

  await grace.getByRole('button', { name: 'Add a passkey' }).click()
  await dialog(grace).getByRole('button', { name: 'Add a passkey' }).click()
  await grace.getByRole('row', { name: /This computer/ }).getByText('Passkey').waitFor(patient)

  await signOut(grace, local)
  await password(grace, local, 'grace', secret)
  await grace.getByRole('heading', { name: 'One more step' }).waitFor(patient)
  await grace.getByLabel('Code').fill(await freshCode(grace, key, used))
  await grace.getByRole('button', { name: 'Continue' }).click()
  await grace.waitForURL(`${local}/`, patient)

  await signOut(grace, local)
  await password(grace, local, 'grace', secret)
  await grace.getByLabel('Code').fill(recovery[0])
  await grace.getByRole('button', { name: 'Continue' }).click()
  await grace.waitForURL(`${local}/`, patient)

  await signOut(grace, local)
  await grace.getByRole('button', { name: 'Use a passkey' }).click()
  await grace.waitForURL(`${local}/`, patient)

  // Her own token may what she may, and ends with her.
  await grace.goto(`${local}/account`)
  await grace.getByRole('button', { name: 'New token' }).click()
  await dialog(grace).getByLabel('Name').fill('script')
  await dialog(grace).getByLabel('What it may do').first().selectOption('some')
  await dialog(grace).getByRole('checkbox', { name: /agents:read/ }).check()
  await dialog(grace).getByRole('button', { name: 'Make token' }).click()
  const token = await shown(grace, 'token')
  await dialog(grace).getByRole('button', { name: 'Done' }).click()
  const ask = (path) => fetch(base + path, { headers: { Authorization: `Bearer ${token}` } }).then((r) => r.status)
  assert.equal(await ask('/api/v1/agents'), 200)
  assert.equal(await ask('/api/v1/alerts'), 403, 'not in its scopes')

  await page.goto(`${base}/users`)
  await page.getByRole('button', { name: 'Open grace' }).click()
  await dialog(page).getByRole('row', { name: /passkey/ }).first().waitFor(patient)
  await dialog(page).getByRole('button', { name: 'Shut out' }).click()
  await page.getByRole('dialog', { name: 'Shut grace out' }).getByRole('button', { name: 'Shut out' }).click()
  await page.getByRole('row', { name: /grace/ }).getByText('shut out').waitFor(patient)
  assert.equal(await ask('/api/v1/agents'), 401)
  await grace.goto(`${local}/account`)
  await grace.waitForURL(/\/signin/, patient)
}

/** The audit log is searched, saved and found to be whole. */
export async function auditLog({ page, base }) {
  await page.goto(`${base}/audit`)
  await page.getByText('user.invite').first().waitFor(patient)
  await page.getByRole('search').getByRole('textbox', { name: 'Search' }).fill('user.disable')
  await page.getByRole('search').getByRole('button', { name: 'Search' }).click()
  await page.getByText('user.invite').first().waitFor({ state: 'detached', ...patient })
  await page.getByText('user.disable').first().waitFor(patient)
  await page.getByRole('button', { name: 'Is it whole?' }).click()
  await page.getByText(/The log is whole: \d+ lines/).waitFor(patient)
  const csv = await page.evaluate(() => fetch('/api/v1/audit/export?format=csv').then((r) => r.text()))
  assert.match(csv, /^seq,time,actor,action,object,outcome,detail,address,hash\n1,/)
}

/** A tenant is made, gets a quota and an administrator, is suspended, let in again, and another is removed; the administrator sees what theirs may have. */
export async function tenants({ page, base }) {
  const add = async (name) => {
    await page.goto(`${base}/tenants`)
    await page.getByRole('button', { name: 'Add a tenant' }).click(patient)
    await dialog(page).getByLabel('Name').fill(name)
    await dialog(page).getByRole('button', { name: 'Add it' }).click()
    await page.getByRole('heading', { name, level: 1 }).waitFor(patient)
  }
  const suspend = async () => {
    await page.getByRole('button', { name: 'Suspend' }).click(patient)
    await dialog(page).getByRole('button', { name: 'Suspend' }).click()
    await page.getByText('suspended', { exact: true }).waitFor(patient)
  }
  await add('acme')
  await page.getByLabel('People').fill('1')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Saved.').waitFor(patient)
  await page.getByLabel('User name').fill('ada')
  await page.getByRole('button', { name: 'Make a link' }).click()
  const link = await shown(page, 'link')
  await page.getByRole('region', { name: 'What it has' }).getByText('Full').waitFor(patient)

  await withBrowser({ viewport: { width: 390, height: 844 } }, async (other) => {
    const ada = await other.newPage()
    await ada.goto(base + link.slice(new URL(link).origin.length))
    await ada.waitForURL(`${base}/`, patient)
    await ada.goto(`${base}/tenant`)
    await ada.getByText('What acme has on this server').waitFor(patient)
    await ada.getByRole('row', { name: /People/ }).getByText('1 of 1').waitFor(patient)
    await suspend()
    assert.equal(await ada.evaluate(() => fetch('/api/v1/tenant').then((r) => r.status)), 401)
  })
  await page.getByRole('button', { name: 'Let in again' }).click()
  await page.getByText('active', { exact: true }).waitFor(patient)

  await add('passing')
  await suspend()
  await page.getByRole('button', { name: 'Remove' }).click()
  await dialog(page).getByRole('button', { name: 'Remove' }).click()
  await page.getByText('passing is removed.').waitFor(patient)
  await page.getByRole('row', { name: /acme/ }).waitFor(patient)
  assert.equal(await page.getByRole('row', { name: /passing/ }).count(), 0)
}
