// Pictures of all pages from the mock: npm run build && node e2e/mock/server.mjs & node e2e/mock/look.mjs
import { look } from '../look.mjs'

const base = process.env.PICKET_URL ?? 'http://127.0.0.1:8099'
const only = process.env.ONLY?.split(',')
const places = {
  overview: '/',
  alerts: '/alerts?state=all',
  alert: '/alerts/al1',
  alert2: '/alerts/al2',
  captures: '/captures',
  capture: '/captures/c1',
  failed: '/captures/c3',
  devices: '/devices',
  device: '/devices/d1',
  plugins: '/plugins',
  plugin: '/plugins/picket/host',
  quarantine: '/plugins/picket/beacon',
  enable: async (page) => {
    await page.goto(base + '/plugins/picket/webhook')
    await page.getByRole('button', { name: 'Enable' }).first().click()
  },
  machines: '/machines',
  add: '/machines?add=true',
  machine: '/machines/a1',
  tokens: '/tokens',
  audit: '/audit',
  missing: '/alerts/nothing',
}
const chosen = only ? Object.fromEntries(Object.entries(places).filter(([k]) => only.includes(k))) : places
const wrong = await look(base, async (page) => {
  await page.goto(`${base}/signin#token=once`)
  await page.waitForURL(`${base}/`)
}, chosen, process.env.OUT ?? 'e2e-artifacts/mock')
console.log(wrong.length ? wrong.join('\n') : 'nothing wrong')
