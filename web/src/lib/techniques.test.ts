import { expect, it } from 'vitest'
import { techniqueLink, techniqueName } from './techniques'

it('names techniques and sub-techniques', () => {
  expect(techniqueName('T1046')).toBe('Network Service Discovery')
  expect(techniqueName('T1071.004')).toBe('Application Layer Protocol: DNS')
  expect(techniqueName('T1071.999')).toBe('Application Layer Protocol')
  expect(techniqueName('T9999')).toBeUndefined()
})

it('links only what has the shape of an id: the text comes from a plugin', () => {
  expect(techniqueLink('T1071.004')).toBe('https://attack.mitre.org/techniques/T1071/004/')
  expect(techniqueLink('../../evil')).toBeUndefined()
  expect(techniqueLink('T1046/x')).toBeUndefined()
})
