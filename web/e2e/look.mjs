// Takes a picture of every page in two widths and two colour schemes, and checks each with axe.
// PICKET_URL and PICKET_SIGNIN as in server.mjs.
import { AxeBuilder } from '@axe-core/playwright'
import { mkdir } from 'node:fs/promises'
import { watchedPage, withBrowser } from './browser.mjs'

const widths = [[1280, 860], [390, 844]]
const schemes = ['light', 'dark']

/** Pictures of `places` ({name: path or async (page) => void}) into `dir`. Returns what is wrong. */
export async function look(base, signIn, places, dir) {
  await mkdir(dir, { recursive: true })
  const wrong = await Promise.all(widths.map(([width, height]) => lookAt({ width, height }, base, signIn, places, dir)))
  return wrong.flat()
}

async function lookAt(viewport, base, signIn, places, dir) {
  const wrong = []
  await withBrowser({ viewport, reducedMotion: 'reduce' }, async (context) => {
    const { page, faults } = await watchedPage(context, base)
    await signIn(page)
    for (const [name, place] of Object.entries(places)) {
      await page.emulateMedia({ colorScheme: 'light' })
      await (typeof place === 'string' ? page.goto(base + place) : place(page))
      await settled(page)
      for (const colorScheme of schemes) {
        // The page follows the system's scheme while it is open, so it need not be fetched again.
        await page.emulateMedia({ colorScheme })
        await page.waitForFunction((scheme) => document.documentElement.dataset.mantineColorScheme === scheme, colorScheme)
        await drawn(page)
        const label = `${name} ${viewport.width} ${colorScheme}`
        await page.screenshot({ path: `${dir}/${name}-${viewport.width}-${colorScheme}.png`, fullPage: true })
        // Nothing but colours changes with the scheme.
        const axe = new AxeBuilder({ page }).setLegacyMode(true)
        if (colorScheme !== schemes[0]) axe.withRules(['color-contrast', 'link-in-text-block'])
        const { violations } = await axe.analyze()
        for (const v of violations) {
          const where = v.nodes.slice(0, 3).map((n) => n.target.join(' ')).join(' | ')
          const line = `${label}: axe ${v.impact}: ${v.id}: ${v.help}: ${where}`
          if (v.impact === 'serious' || v.impact === 'critical') wrong.push(line)
          else console.log(line)
        }
      }
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (overflow > 0) wrong.push(`${name} ${viewport.width}: ${overflow} px wider than the screen`)
      wrong.push(...(await tooWide(page, `${name} ${viewport.width}`, viewport)))
    }
    wrong.push(...faults.map((f) => `${viewport.width}: ${f}`))
  })
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

async function settled(page) {
  await page.waitForSelector('h1')
  await page.waitForFunction(() => !document.querySelector('[role="status"][aria-label="Loading"]'))
  await page.evaluate(() => document.fonts.ready)
}

/** The canvas of a chart has no event for "drawn". */
const drawn = (page) => page.waitForTimeout(500)
