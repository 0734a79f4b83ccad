import { expect, it } from 'vitest'
import { allTechniques, domainOf, domains, parentOf, placesOf, tacticsOf, techniqueLink, techniqueName } from './techniques'

it('names techniques and sub-techniques', () => {
  expect(techniqueName('T1046')).toBe('Network Service Discovery')
  expect(techniqueName('T1071.004')).toBe('Application Layer Protocol: DNS')
  expect(techniqueName('T1071.999')).toBe('Application Layer Protocol')
  expect(techniqueName('T0846')).toBe('Remote System Discovery')
  expect(techniqueName('T9999')).toBeUndefined()
  expect(techniqueName('constructor')).toBeUndefined()
})

it('knows where they stand in the matrices', () => {
  expect(tacticsOf('enterprise').map((t) => t.name).slice(0, 3)).toEqual(['Reconnaissance', 'Resource Development', 'Initial Access'])
  expect(tacticsOf('ics').at(-1)?.name).toBe('Impact')
  expect(placesOf('T1046').map((n) => tacticsOf('enterprise')[n]?.name)).toEqual(['Discovery'])
  expect(placesOf('T0846').map((n) => tacticsOf(domainOf('T0846'))[n]?.name)).toEqual(['Discovery'])
  expect(placesOf('made-up')).toEqual([])
  expect(parentOf('T1071.004')).toBe('T1071')
  for (const domain of domains) for (const id of allTechniques(domain)) expect(placesOf(id).length, id).toBeGreaterThan(0)
})

it('links only what has the shape of an id: the text comes from a plugin', () => {
  expect(techniqueLink('T1071.004')).toBe('https://attack.mitre.org/techniques/T1071/004/')
  expect(techniqueLink('../../evil')).toBeUndefined()
  expect(techniqueLink('T1046/x')).toBeUndefined()
})
