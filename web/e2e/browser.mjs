// Chromium as the tests use it: Debian's own, with an empty profile, touching no other host.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'

const flags = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync',
]

/** Runs `work` with a fresh browser profile. `options` are Playwright's context options. */
export async function withBrowser(options, work) {
  const profile = await mkdtemp(join(tmpdir(), 'picket-e2e-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: flags,
    ...options,
  })
  try {
    return await work(context)
  } finally {
    await context.close()
    await rm(profile, { recursive: true, force: true })
  }
}

/** A page that remembers what must never happen: script errors, policy violations, requests to other hosts. */
export async function watchedPage(context, base) {
  const page = await context.newPage()
  const faults = []
  page.on('pageerror', (e) => faults.push(`script error: ${e.message}`))
  page.on('console', (m) => {
    // A refused request is also written to the console; what the page makes of it is tested where it is expected.
    if (m.type() === 'error' && !/Failed to load resource/.test(m.text())) faults.push(`console: ${m.text()}`)
  })
  page.on('request', (r) => {
    const { host, protocol } = new URL(r.url())
    if (protocol.startsWith('http') && host !== new URL(base).host) faults.push(`asked another host: ${r.url()}`)
  })
  return { page, faults }
}
