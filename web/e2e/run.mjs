// npm run e2e: journeys through the real picketd, then a picture and an axe check of every page. ONLY=oneClick,machines,system runs
// just these journeys and pages of the working server; without oneClick nobody is signed in.
import { execFileSync } from 'node:child_process'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { watchedPage, withBrowser } from './browser.mjs'
import { traffic } from './flows.mjs'
import * as journeys from './journeys.mjs'
import { look } from './look.mjs'
import { marketplace } from './market.mjs'
import { bin, devServer, startServer } from './server.mjs'
import { enrol, walk } from './walking.mjs'

const pictures = fileURLToPath(new URL('../../e2e-artifacts/', import.meta.url))
const only = process.env.ONLY?.split(',')
const asked = (name) => !only || only.includes(name)
let failures = 0

async function step(name, work) {
  const start = Date.now()
  try {
    await work()
    console.log(`ok    ${name}  ${((Date.now() - start) / 1000).toFixed(1)} s`)
  } catch (error) {
    failures++
    console.log(`FAIL  ${name}\n${error.stack ?? error}`)
  }
}

async function journey(name, context, server) {
  const { page, faults } = await watchedPage(context, server.base)
  await step(name, async () => {
    try {
      await journeys[name]({ page, ...server })
    } catch (error) {
      await page.screenshot({ path: `${pictures}failed-${name}.png`, fullPage: true })
      throw error
    }
    if (!['outOfReach', 'liveDown'].includes(name) && faults.length > 0) throw new Error(faults.join('\n'))
  })
  await page.close()
}

async function firstRun() {
  const server = await startServer()
  try {
    await withBrowser({ viewport: { width: 1280, height: 860 } }, (context) => journey('setUp', context, server))
  } finally {
    await server.stop()
  }
}

/** A small walk per role; npm run walk is the whole of it. */
async function roles() {
  const server = await startServer()
  try {
    const token = execFileSync(join(bin, 'picket'), ['token', 'create', '--data', server.data, '--role', 'ADM'], { encoding: 'utf8' }).trim()
    await enrol(server.base, token, 20)
    const wrong = await walk(server.base, token, ['IT', 'PUB', 'AUTHOR'], `${pictures}walk/`)
    if (wrong.length > 0) throw new Error(wrong.join('\n'))
  } finally {
    await server.stop()
  }
}

async function working() {
  const server = await devServer()
  try {
    const signedIn = await withBrowser({ viewport: { width: 1280, height: 860 } }, async (context) => {
      for (const name of ['oneClick', 'overview', 'keyboard', 'zoom', 'attack', 'triage', 'incidents', 'judging', 'suppress', 'rules', 'metricRules', 'deliveries', 'alert', 'undo', 'captures', 'explore', 'exploring', 'sql', 'health', 'settings', 'welcome', 'commands', 'heard', 'plugins', 'market', 'fleet', 'publish', 'instance', 'frame', 'limits', 'machines', ...(server.data ? ['rollout'] : []), 'access', 'tokens', 'people', 'tenants', 'auditLog', 'groups', 'liveDown', 'outOfReach'].filter(asked)) {
        await journey(name, context, server)
      }
      return { cookies: await context.cookies(), places: await places(context, server.base) }
    })
    await step('every page in two widths, light and dark, with axe', async () => {
      const enter = (page) => page.context().addCookies(signedIn.cookies)
      const wrong = await look(server.base, enter, signedIn.places, pictures)
      if (wrong.length > 0) throw new Error(wrong.join('\n'))
    })
  } finally {
    await server.stop()
  }
}

/** Addresses of every page, with things that exist now. */
async function places(context, base) {
  const page = await context.newPage()
  await page.goto(base)
  const first = (path) => page.evaluate((p) => fetch(p).then((r) => r.json()).then((l) => l.items?.[0]?.id), path)
  const anAlert = await first('/api/v1/alerts')
  const anIncident = await first('/api/v1/incidents?sort=risk')
  const found = {
    overview: '/',
    alerts: '/alerts?state=all',
    preview: `/alerts?state=all&open=${anAlert}`,
    incidents: '/incidents?state=all',
    'no-incidents': '/incidents?host=nobody',
    incident: `/incidents/${anIncident}`,
    rules: '/rules',
    rule: '/rules/edit?rule=any-lookup',
    'rule-file': '/rules/edit?whole=true',
    'rule-example': '/rules/edit?example=1&node=agents',
    'metric-rules': '/rules?kind=metrics',
    'metric-rule': '/rules/metrics/disk-full',
    'metric-rule-new': '/rules/new-metric',
    inbox: '/inbox?show=all',
    deliveries: async (p) => {
      await p.route('**/api/v1/deliveries**', (route) => route.fulfill({ json: { items: journeys.deliveryRows() } }))
      await p.goto(`${base}/deliveries`)
      await p.getByText('Given up').first().waitFor()
    },
    suppress: async (p) => {
      await p.goto(`${base}/incidents/${anIncident}`)
      await p.getByRole('region', { name: 'Risk' }).waitFor()
      await p.keyboard.press('s')
      await p.getByRole('dialog').getByText(/of the last 30 days/).waitFor()
    },
    suppressions: '/suppressions',
    attack: '/attack',
    'attack-ics': '/attack?domain=ics&all=true',
    keys: async (p) => {
      await p.goto(`${base}/alerts?state=all`)
      await p.getByRole('button', { name: 'Keys' }).click()
      await p.getByRole('dialog').getByText('Acknowledge it').waitFor()
    },
    alert: `/alerts/${anAlert}`,
    told: async (p) => {
      const back = await journeys.reading(p, `/api/v1/alerts/${anAlert}`, (said) => (said.notices = journeys.told()))
      await p.goto(`${base}/alerts/${anAlert}`)
      await p.getByRole('button', { name: /^Undo/ }).click()
      await p.getByRole('dialog').waitFor()
      await back()
    },
    captures: '/captures',
    capture: `/captures/${await first('/api/v1/captures')}`,
    devices: '/devices',
    device: `/devices/${await first('/api/v1/devices')}`,
    plugins: '/plugins',
    plugin: '/plugins/picket/host',
    detector: '/plugins/picket/portscan',
    framed: '/plugins/picket/probe',
    explain: async (p) => {
      await p.goto(`${base}/plugins/picket/portscan`)
      await p.getByRole('button', { name: 'Explain' }).click()
      await p.getByRole('dialog').getByText('What holds the process to that.').waitFor()
    },
    enable: async (p) => {
      await p.goto(`${base}/plugins/picket/ping`)
      await p.getByRole('button', { name: 'Enable' }).first().click()
      await p.getByRole('dialog').getByText('Limits, where').click()
    },
    unsigned: async (p) => {
      const back = await journeys.reading(p, '/api/v1/plugins/picket/portscan', (said) => {
        said.trust = 'unsigned'
        for (const i of said.instances) i.unconfined = true
      })
      await p.goto(`${base}/plugins/picket/portscan`)
      await p.getByText('Unsigned, development').first().waitFor()
      await back()
    },
    'real-market': '/market',
    'real-card': '/market/picket/portscan',
    'real-install': async (p) => {
      await p.goto(`${base}/market/picket/discord`) // not what the journeys install
      await p.getByRole('button', { name: 'Install' }).click()
      await p.getByRole('dialog').getByText('to fetch').waitFor()
    },
    'real-fleet': '/fleet',
    machines: '/machines',
    add: async (p) => {
      await p.goto(`${base}/machines?add=true`)
      await p.getByRole('dialog').getByRole('button', { name: 'Make the command' }).click()
      await p.getByRole('dialog').getByText('Waiting for the machine').waitFor()
    },
    chosen: async (p) => {
      await p.goto(`${base}/machines`)
      await p.getByRole('checkbox', { name: 'Choose all machines of this list' }).click() // it is checked when the server has said which they are
      await p.getByRole('group', { name: 'What to do with the chosen machines' }).waitFor()
    },
    machine: `/machines/${await first('/api/v1/agents')}`,
    groups: '/groups',
    group: '/groups/loft',
    'group-all': '/groups/all',
    'group-change': async (p) => {
      await p.goto(`${base}/groups/loft`)
      await p.getByRole('button', { name: 'Change', exact: true }).click()
      await p.getByRole('dialog').getByText(/fits?\./).waitFor()
    },
    config: '/config/group:loft?version=2',
    'config-all': '/config/agents',
    'config-change': async (p) => {
      await p.goto(`${base}/config/group:loft`)
      await p.getByRole('button', { name: 'Change picket/host here' }).click()
      await p.getByRole('dialog').getByRole('checkbox', { name: 'To some machines first' }).check()
    },
    'config-restore': async (p) => {
      await p.goto(`${base}/config/group:loft`)
      await p.getByRole('button', { name: 'Restore version 2' }).click()
      await p.getByRole('dialog').getByRole('cell', { name: '30s' }).waitFor()
    },
    enrolment: '/enrolment',
    'enrolment-made': async (p) => {
      await p.goto(`${base}/enrolment`)
      await p.getByRole('button', { name: 'Make a token' }).first().click()
      await p.getByRole('dialog').getByRole('button', { name: 'Make a token' }).click()
      await p.getByRole('dialog').getByText('It lets in').waitFor()
    },
    commands: '/commands',
    command: `/commands/${await first('/api/v1/commands')}`,
    order: async (p) => {
      await p.goto(`${base}/commands`)
      await p.getByRole('button', { name: 'New command' }).click()
      await p.getByRole('dialog').getByLabel('Command').selectOption('exec')
    },
    users: '/users',
    tenants: '/tenants',
    tenant: `/tenants/${await page.evaluate(() => fetch('/api/v1/tenants').then((r) => r.json()).then((l) => l.items.find((of) => of.id !== 'default')?.id))}`,
    'tenant-operator': '/tenants/default',
    'tenant-own': '/tenant',
    tokens: '/tokens',
    audit: '/audit',
    promql: '/explore?q=%5B%22system_memory_usage_bytes%22%5D&r=15m',
    'promql-built': async (p) => {
      await p.goto(`${base}/explore`)
      await p.getByRole('button', { name: 'Build one' }).click()
      await p.getByRole('button', { name: 'Use this query' }).waitFor()
    },
    sql: async (p) => {
      await p.goto(`${base}/explore/sql`)
      await p.getByRole('button', { name: 'Run', exact: true }).click()
      await p.getByText(/rows in/).waitFor()
    },
    system: '/system',
    settings: '/settings',
    welcome: '/welcome?step=watch',
    'welcome-end': '/welcome?step=end',
    account: '/account',
    missing: '/alerts/nothing-here',
    nowhere: '/no/such/page',
  }
  await page.close()
  return Object.fromEntries(Object.entries(found).filter(([name, at]) => asked(name) && (typeof at !== 'string' || !at.endsWith('undefined'))))
}

await rm(pictures, { recursive: true, force: true })
await mkdir(pictures, { recursive: true })
if (asked('setUp')) await step('first run', firstRun)
await step('working server', working)
if (asked('walk')) await step('every page per role', roles)
if (!only) {
  await step('marketplace on made-up answers', () => marketplace(step, pictures))
  await step('captures and flows on made-up answers', () => traffic(step, pictures))
}
console.log(failures === 0 ? `\nall good; pictures in ${pictures}` : `\n${failures} failed; pictures in ${pictures}`)
process.exit(failures === 0 ? 0 : 1)
