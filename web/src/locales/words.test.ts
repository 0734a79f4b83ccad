// A page must bring the words that it says: a missing file of words would show keys where text belongs.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, test } from 'vitest'

const src = resolve(import.meta.dirname, '..')
const areas = new Map<string, string>()
for (const file of readdirSync(import.meta.dirname).filter((f) => f.endsWith('.en.json'))) {
  for (const area of Object.keys(JSON.parse(readFileSync(join(import.meta.dirname, file), 'utf8')) as object)) areas.set(area, file.replace('.en.json', ''))
}
const always = Object.keys(JSON.parse(readFileSync(join(import.meta.dirname, 'en.json'), 'utf8')) as object)

const code = new Map<string, string>()
for (const file of readdirSync(src, { recursive: true, encoding: 'utf8' })) {
  if (/\.tsx?$/.test(file) && !/\.test\.|\.d\.ts$/.test(file)) code.set(join(src, file), readFileSync(join(src, file), 'utf8'))
}

/** A file and all that it imports at once, or that is in the same file of the build. */
function closure(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  for (const [, path] of code.get(file)!.matchAll(/^(?:import|export|\}) (?!type ).*?'(\.[^']+)'$/gm)) {
    const found = named(file, path!)
    if (found) closure(found, seen)
  }
  return seen
}

const named = (from: string, path: string) => ['.ts', '.tsx'].map((end) => resolve(dirname(from), path + end)).find((f) => code.has(f))

test('no area of words is in two files', () => {
  for (const area of always) expect(areas.has(area), area).toBe(false)
})

test('whatever is loaded later brings the words that it says', () => {
  const first = closure(join(src, 'main.tsx'))
  const missing: string[] = []
  for (const [from, text] of code) {
    for (const [, path] of text.matchAll(/import\('(\.[^']+)'\)/g)) {
      const whole = closure(named(from, path!)!)
      for (const file of whole) {
        for (const [, area] of code.get(file)!.matchAll(/\bt\(\s*['"`](\w+)\./g)) {
          const words = areas.get(area!)
          const there = join(import.meta.dirname, `${words}.ts`)
          if (words && !whole.has(there) && !closure(from).has(there) && !first.has(there)) missing.push(`${path} says ${area}, whose words are in locales/${words}.ts`)
        }
      }
    }
  }
  expect(missing).toEqual([])
})

test('the first page loads no words but its own', () => {
  const loaded = [...closure(join(src, 'main.tsx')), ...closure(join(src, 'pages/Overview.tsx'))].filter((f) => dirname(f) === import.meta.dirname)
  expect(loaded).toEqual([])
})
