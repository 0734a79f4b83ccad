import { describe, expect, it } from 'vitest'
import { plain, rulesOf, settingsOf, treeOf, wantedOf, whose, withBelow, type Configured, type MachineGroup } from './groups'

const group = (name: string, parent: string) => ({ name, parent }) as MachineGroup

describe('groups', () => {
  const groups = [group('asia', 'all'), group('europe', 'all'), group('france', 'europe'), group('paris', 'france'), group('x', 'y'), group('y', 'x')]

  it('come behind their parents, and those that go round in a circle nowhere', () => {
    expect(treeOf(groups).map((b) => `${b.depth}${b.group.name}`)).toEqual(['0asia', '0europe', '1france', '2paris'])
  })

  it('cannot hang below themselves', () => {
    expect([...withBelow(groups, 'europe')]).toEqual(['europe', 'france', 'paris'])
  })
})

describe('a configuration', () => {
  const p = {
    plugin: 'acme/host', version: '1.2.0', runtime: 'process', config: { b: { n: 1, list: [1, 2] }, a: 'text' }, secrets_set: ['token'], interval: '9s',
    grants: [{ cap: 'fs.read' }, { cap: 'fs.read' }], limits: { memory_mb: 64 }, from: 'agents', instance: 'acme/host',
  } as unknown as Configured

  it('is flat for people, without what is secret', () => {
    expect(settingsOf(p)).toEqual([{ path: 'a', value: 'text' }, { path: 'b.list', value: '[1,2]' }, { path: 'b.n', value: '1' }, { path: 'limits.memory_mb', value: '64' }, { path: 'token' }])
  })

  it('is sent again with what it was granted', () => {
    expect(wantedOf(p)).toEqual({ plugin: 'acme/host', version: '1.2.0', runtime: 'process', config: p.config, interval: '9s', grants: ['fs.read'], limits: { memory_mb: 64 } })
  })

  it('belongs to somebody', () => {
    expect([whose('agents'), whose('group:web'), whose('0198')]).toEqual([{ of: 'all', name: '' }, { of: 'group', name: 'web' }, { of: 'machine', name: '' }])
  })
})

describe('text', () => {
  it('has no quotes around it', () => expect([plain('"9s"'), plain('9'), plain(undefined), plain('{')]).toEqual(['9s', '9', '–', '{']))
  it('has a rule a line', () => expect(rulesOf(' os=linux \n\nname~^a,b')).toEqual(['os=linux', 'name~^a,b']))
})
