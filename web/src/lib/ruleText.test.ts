import { expect, test } from 'vitest'
import examples from './ruleExamples.json'
import { diff, fileHead, fileOf, offsetOf, outline, placeOf, quoted, saidOf, samplesOf, scalar, withPart, without, withRules } from './ruleText'

const two = `# ours
version: 1
rules:
  - id: one
    title: "{client} asked: \\"why\\""
    severity: low # for now
    techniques: [T1071.004, 'T1568']
    on: dns
    when: |
      query == "a" &&

      !response
    samples:
      fires: [{query: a}]
      silent: [{query: b}, {query: c, response: true}]

  # the other one
  -  id: two
     enabled: false
     title: 'it''s here'
     on: flows
     when: dst_port == 22
     samples:
       fires:
         - {dst_port: 22}
         - {dst_port: 22,
            src: 10.0.0.1}
       silent:
         - {}
`

test('finds the rules of a file', () => {
  const rules = outline(two)!
  expect(rules.map(({ id, title, on, severity, enabled, techniques }) => ({ id, title, on, severity, enabled, techniques }))).toEqual([
    { id: 'one', title: '{client} asked: "why"', on: 'dns', severity: 'low', enabled: true, techniques: ['T1071.004', 'T1568'] },
    { id: 'two', title: "it's here", on: 'flows', severity: 'medium', enabled: false, techniques: [] },
  ])
  expect(outline(fileOf(two, rules[0]!))!.map((r) => r.id)).toEqual(['one'])
  expect(rules.map((r) => samplesOf(two, r))).toEqual([{ fires: 1, silent: 2 }, { fires: 2, silent: 1 }])
})

test('leaves alone what is not a list of lines', () => {
  expect(outline('version: 1\nrules: [{id: a}]\n')).toBeNull()
  expect(outline('nothing')).toBeNull()
  expect(outline('')).toEqual([])
  expect(outline('version: 1\nrules: []\n')).toEqual([])
  expect(withRules('version: 1\nrules: [{id: a}]\n', undefined, fileHead + '  - id: b\n')).toBeNull()
})

test('every example is found, and can be put into a file and taken out of it', () => {
  let file = ''
  for (const e of examples) file = withRules(file, undefined, e.text)!
  const rules = outline(file)!
  expect(rules.map((r) => r.on)).toEqual(examples.map((e) => e.on))
  rules.forEach((r, i) => expect(fileOf(file, r)).toBe(examples[i]!.text))
  for (let n = rules.length; n > 0; n--) file = without(file, outline(file)![0]!)
  expect(outline(file)).toEqual([])
})

test('puts a rule in the place of another, at its depth', () => {
  const rules = outline(two)!
  const changed = withRules(two, rules[1], fileHead + '- id: three\n  title: t\n')!
  expect(outline(changed)!.map((r) => r.id)).toEqual(['one', 'three'])
  expect(changed).toContain('\n  - id: three\n    title: t\n')
  expect(changed.startsWith('# ours\n')).toBe(true)
})

test('changes single parts and nothing else', () => {
  const at = (text: string) => outline(text)![0]!
  let text = withPart(two, at(two), 'severity', 'high')
  expect(at(text).severity).toBe('high')
  text = withPart(text, at(text), 'title', quoted('a "b"'))
  expect(at(text).title).toBe('a "b"')
  text = withPart(text, at(text), 'techniques', '[T1046]')
  expect(at(text).techniques).toEqual(['T1046'])
  text = withPart(text, at(text), 'techniques', '')
  expect(at(text).techniques).toEqual([])
  text = withPart(text, at(text), 'enabled', 'false')
  expect(at(text).enabled).toBe(false)
  expect(text.split('\n').length).toBe(two.split('\n').length)
  const below = 'version: 1\nrules:\n  - id: a\n    title: >\n      long\n'
  expect(withPart(below, at(below), 'title', '"x"')).toBe(below)
})

test('scalars', () => {
  expect(scalar('a # b')).toBe('a')
  expect(scalar('"a # b" # c')).toBe('a # b')
  expect(scalar('|')).toBeUndefined()
  expect(scalar('"open')).toBeUndefined()
})

test('places', () => {
  expect(offsetOf('ab\ncd', 2, 2)).toBe(4)
  expect(placeOf('ab\ncd', 4)).toEqual({ line: 2, column: 2 })
  expect(offsetOf('ab', 9, 9)).toBe(2)
})

test('a diff has the changes and what is around them', () => {
  const a = 'a\nb\nc\nd\ne\nf\ng\nh'
  expect(diff(a, a)).toEqual([])
  expect(diff(a, a.replace('d\n', 'x\ny\n').replace('h', 'i'), 1).map((l) => (l ? l.sign + l.text : '…'))).toEqual([' c', '-d', '+x', '+y', ' e', '…', ' g', '-h', '+i'])
  expect(diff('', 'a').map((l) => l && l.sign + l.text)).toEqual(['-', '+a'])
})

test('what the plugin says of a rule', () => {
  const reason = 'InvalidConfig: rules are left out:\nrules:5:11: rule one: dns has no field or function "qery"; did you mean query?\n/x.yaml:2:1: rule two: bad\nrule three cost too much and is switched off until the capture ends'
  expect(saidOf(reason, 'one')).toEqual({ off: false, left: '5:11: dns has no field or function "qery"; did you mean query?' })
  expect(saidOf(reason, 'two').left).toBe('2:1: bad')
  expect(saidOf(reason, 'three')).toEqual({ off: true, left: '' })
  expect(saidOf(undefined, 'one')).toEqual({ off: false, left: '' })
})
