// Takes a picture of every page in two widths and two colour schemes, and checks each with axe.
// PICKET_URL and PICKET_SIGNIN as in run.mjs; ONLY=alert,plugin picks pages.
import { AxeBuilder } from '@axe-core/playwright'
import { mkdir } from 'node:fs/promises'
import { watchedPage, withBrowser } from './browser.mjs'

const widths = [[1280, 860], [390, 844]]
const schemes = ['light', 'dark']

/** Pictures of `places` ({name: path or async (page) => void}) into `dir`. Returns what is wrong. */
export async function look(base, signIn, places, dir) {
  await mkdir(dir, { recursive: true })
  const wrong = []
  for (const [width, height] of widths) {
    for (const colorScheme of schemes) {
      await withBrowser({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' }, async (context) => {
        const { page, faults } = await watchedPage(context, base)
        await signIn(page)
        for (const [name, place] of Object.entries(places)) {
          await (typeof place === 'string' ? page.goto(base + place) : place(page))
          await settled(page)
          const label = `${name} ${width} ${colorScheme}`
          await page.screenshot({ path: `${dir}/${name}-${width}-${colorScheme}.png`, fullPage: true })
          const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
          if (overflow > 0) wrong.push(`${label}: ${overflow} px wider than the screen`)
          wrong.push(...(await tooWide(page, label, { width, height })))
          const { violations } = await new AxeBuilder({ page }).setLegacyMode(true).analyze()
          for (const v of violations) {
            const where = v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join(' | ')
            const line = `${label}: axe ${v.impact}: ${v.id}: ${v.help}: ${where}`
            if (v.impact === 'serious' || v.impact === 'critical') wrong.push(line)
            else console.log(line)
          }
        }
        wrong.push(...faults.map((f) => `${width} ${colorScheme}: ${f}`))
      })
    }
  }
  return wrong
}

/** The narrowest phone and a wide desktop have no pictures; there nothing may stick out. */
async function tooWide(page, label, back) {
  const found = []
  for (const width of [360, 2560]) {
    await page.setViewportSize({ width, height: 900 })
    // A chart learns of its new room after the page has it.
    await page.waitForFunction(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth, null, { timeout: 3000 }).catch(() => {})
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
    if (over > 0) found.push(`${label} at ${width}: ${over} px wider than the screen`)
  }
  await page.setViewportSize(back)
  return found
}

export async function settled(page) {
  await page.waitForSelector('h1')
  await page.waitForFunction(() => !document.querySelector('[role="status"][aria-label="Loading"]'))
  await page.evaluate(() => document.fonts.ready)
  await page.waitForTimeout(700) // the canvas of a chart has no event for "drawn"
}
