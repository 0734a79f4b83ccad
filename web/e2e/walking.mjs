// Walks through every page as somebody of a role, as its navigation leads there, and one step further into each list.
import { AxeBuilder } from '@axe-core/playwright'
import { generateKeyPairSync } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { watchedPage, withBrowser } from './browser.mjs'

export const allRoles = ['PUB', 'IT', 'SUP', 'ADM', 'AUTHOR', 'RESEARCHER', 'APPROVER']
const widths = [[1280, 860], [390, 844]]
const patient = { timeout: 30_000 }

/** Every page that has one address; an administrator may open each, also where no navigation leads to. */
const everyPlace = async () =>
  [...(await readFile(new URL('../src/router.tsx', import.meta.url), 'utf8')).matchAll(/\bpath: '(\/[^$']*)'/g)].map(([, path]) => path).filter((path) => !['/setup', '/signin'].includes(path))

/** Asks the API as an administrator. */
const caller = (base, token) => async (method, path, body) => {
  const response = await fetch(base + path, { method, headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) }, body: body && JSON.stringify(body) })
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
  return response.status === 204 ? undefined : response.json()
}

/** Enrols some machines that never say anything. */
export async function enrol(base, token, count) {
  const call = caller(base, token)
  for (let i = 0; i < count; i++) {
    const { token: ticket } = await call('POST', '/api/v1/agents/tokens', { name: `walk-${String(i).padStart(3, '0')}` })
    const key = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x
    await call('POST', '/api/v1/enrol', { token: ticket, name: 'walk', os: 'linux', arch: 'amd64', version: '0.1.0', public_key: Buffer.from(key, 'base64url').toString('base64') })
  }
}

/** Signs somebody new of a role in. */
async function enter(page, base, token, role) {
  const { link } = await caller(base, token)('POST', '/api/v1/users', { username: `walker-${role.toLowerCase()}-${Date.now()}`, role })
  await page.goto(base + link.slice(new URL(link).origin.length))
  await page.waitForURL(`${base}/`, patient)
}

/** Every page as each role. Returns what is wrong. */
export async function walk(base, token, roles, pictures) {
  await mkdir(pictures, { recursive: true })
  const wrong = []
  for (const role of roles) {
    const began = Date.now()
    let visited = 0
    for (const [width, height] of widths) {
      await withBrowser({ viewport: { width, height }, reducedMotion: 'reduce' }, async (context) => {
        const { page, faults } = await watchedPage(context, base)
        page.on('response', (r) => {
          if (r.status() === 403 || r.status() >= 500) faults.push(`${r.status()} ${r.request().method()} ${new URL(r.url()).pathname} on ${new URL(page.url()).pathname}`)
        })
        await enter(page, base, token, role)
        await settled(page)
        const places = new Set(await page.locator('nav a[href^="/"]').evaluateAll((list) => list.map((a) => a.getAttribute('href'))))
        places.add('/account')
        if (role === 'ADM') for (const place of await everyPlace()) places.add(place)
        for (const place of places) {
          await page.goto(base + place)
          await settled(page)
          visited++
          wrong.push(...(await look(page, `${role} ${place} ${width}`, `${pictures}${role}${place.replaceAll('/', '-')}-${width}`)))
          const inside = await page.locator(`main table a[href^="${place === '/' ? '/none' : place}/"]`).first().getAttribute('href', { timeout: 500 }).catch(() => null)
          if (!inside) continue
          await page.goto(base + inside)
          await settled(page)
          visited++
          wrong.push(...(await look(page, `${role} ${place}/… ${width}`, `${pictures}${role}${place.replaceAll('/', '-')}-one-${width}`)))
        }
        wrong.push(...faults.map((f) => `${role} ${width}: ${f}`))
      })
    }
    console.log(`walked  ${role}  ${visited} pages  ${((Date.now() - began) / 1000).toFixed(1)} s`)
  }
  return [...new Set(wrong)]
}

async function look(page, label, picture) {
  const wrong = []
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    await page.waitForFunction((scheme) => document.documentElement.dataset.mantineColorScheme === scheme, colorScheme)
    const axe = new AxeBuilder({ page }).setLegacyMode(true)
    if (colorScheme === 'dark') axe.withRules(['color-contrast', 'link-in-text-block'])
    const { violations } = await axe.analyze()
    for (const v of violations) wrong.push(`${label} ${colorScheme}: axe ${v.impact}: ${v.id}: ${v.nodes.slice(0, 2).map((n) => n.target.join(' ')).join(' | ')}`)
    await page.screenshot({ path: `${picture}-${colorScheme}.png` })
  }
  await page.emulateMedia({ colorScheme: 'light' })
  const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  if (over > 0) wrong.push(`${label}: ${over} px wider than the screen`)
  return wrong
}

async function settled(page) {
  await page.waitForSelector('h1', patient)
  await page.waitForFunction(() => !document.querySelector('[role="status"][aria-label="Loading"]'), null, patient)
}

/** How long the list of machines takes, in lines to print: nothing is decided by them. */
export async function measure(base, token) {
  const lines = []
  const say = (what, list) => {
    list.sort((a, b) => a - b)
    lines.push(`${what}: median ${list[Math.floor(list.length / 2)].toFixed(0)} ms, worst ${list.at(-1).toFixed(0)} ms of ${list.length}`)
  }
  const ask = async (path) => {
    const took = []
    for (let i = 0; i < 100; i++) {
      const began = performance.now()
      await (await fetch(base + path, { headers: { Authorization: `Bearer ${token}` } })).arrayBuffer()
      took.push(performance.now() - began)
    }
    took.sort((a, b) => a - b)
    lines.push(`GET ${path}: median ${took[50].toFixed(1)} ms, p95 ${took[95].toFixed(1)} ms`)
  }
  await ask('/api/v1/agents?sort=name&limit=100&brief=true')
  await ask('/api/v1/agents?sort=-seen&limit=100&offset=9000&brief=true')
  await ask('/api/v1/agents?q=web-0&label=site%3Doslo&limit=100&brief=true')
  await ask('/api/v1/agents/summary')
  await withBrowser({ viewport: { width: 1280, height: 860 } }, async (context) => {
    const { page } = await watchedPage(context, base)
    await enter(page, base, token, 'ADM')
    const first = []
    for (let i = 0; i < 5; i++) {
      await page.goto(`${base}/machines`, { waitUntil: 'commit' })
      await page.locator('tbody tr a[data-row]').first().waitFor(patient)
      first.push(await page.evaluate(() => performance.now()))
    }
    say('first rows on the screen, from the beginning of the navigation', first)
    // Within the page, from the event to the frame in which the rows are there.
    for (const what of ['jump to a place in the list', 'choose a row']) {
      const took = []
      for (let i = 1; i <= 10; i++) {
        took.push(await page.evaluate(([jump, row]) => new Promise((done) => {
          const began = performance.now()
          const box = document.querySelector('tbody input[type=checkbox]')
          const wanted = !box?.checked
          if (jump) document.querySelector('[role=grid]').parentElement.scrollTop = row * 48
          else box.click()
          const there = () => (jump ? document.querySelector(`tbody a[data-row="${row + 3}"]`) : document.querySelector('tbody tr[aria-selected]').getAttribute('aria-selected') === String(wanted))
          const look = () => (there() ? done(performance.now() - began) : requestAnimationFrame(look))
          requestAnimationFrame(look)
        }), [what.startsWith('jump'), (i * 7919) % 9900]))
      }
      say(what, took)
    }
    const typing = []
    for (const text of ['web-001', 'db-0', 'berlin', 'edge-0999']) {
      const began = performance.now()
      const answered = page.waitForResponse((r) => r.url().includes('/api/v1/agents?') && r.url().includes(encodeURIComponent(text)))
      await page.getByRole('searchbox').fill(text)
      await answered
      typing.push(performance.now() - began)
    }
    say('search, from the key to the answer, 200 ms of it waiting for the next key', typing)
  })
  return lines
}
