import { expect, it } from 'vitest'
import type { JSONSchema } from '../api/types'
import { fieldsOf, initialValues, labelOf, resolved, submit } from './configForm'

// What sdk/config writes for a struct with one field of each type.
const schema: JSONSchema = {
  type: 'object',
  required: ['url', 'password'],
  properties: {
    password: { type: 'string', writeOnly: true, 'x-secret': true, 'x-order': 1 },
    url: { type: 'string', format: 'uri', 'x-format': 'url', description: 'Where to send.', 'x-order': 0 },
    retries: { type: 'integer', default: 3, minimum: 0, maximum: 5, 'x-order': 2 },
    timeout: { type: 'string', 'x-format': 'duration', default: '1s', 'x-min': '10ms', 'x-order': 3 },
    level: { type: 'string', enum: ['low', 'high'], default: 'low', 'x-order': 4 },
    targets: { type: 'array', items: { type: 'string', 'x-format': 'cidr' }, default: ['10.0.0.0/8'], 'x-order': 5 },
    tls: { type: 'object', 'x-order': 6, properties: { verify: { type: 'boolean', default: true, 'x-order': 0 } } },
    labels: { type: 'object', 'x-order': 7 },
    headers: { type: 'object', additionalProperties: { type: 'string' }, 'x-order': 8 },
    ca: { type: 'string', description: 'Certificates in PEM form.', 'x-order': 9 },
    rules: { type: 'string', description: 'Your rules, as YAML.', 'x-order': 10 },
  },
}
const fields = fieldsOf(schema)

it('keeps the order of the struct and knows each kind', () => {
  expect(fields.map((f) => `${f.name}:${f.kind}${f.required ? '!' : ''}`)).toEqual([
    'url:text!', 'password:secret!', 'retries:integer', 'timeout:text', 'level:choice', 'targets:list', 'tls:group', 'labels:json', 'headers:pairs', 'ca:lines', 'rules:lines',
  ])
  expect(fields[5]?.format).toBe('cidr')
})

it('starts with the defaults and comes back as the same configuration', () => {
  const values = { ...initialValues(fields), url: 'https://x', password: 's3cret' }
  expect(submit(fields, values)).toEqual({
    config: { url: 'https://x', retries: 3, timeout: '1s', level: 'low', targets: ['10.0.0.0/8'], tls: { verify: true } },
    secrets: { password: 's3cret' },
    problems: {},
  })
})

it('never puts a secret into the configuration, nor shows a stored one', () => {
  const values = initialValues(fields, { url: 'https://x', password: 'leaked' })
  expect(values.password).toBe('')
  expect(submit(fields, values, ['password']).problems).toEqual({})
  expect(JSON.stringify(submit(fields, { ...values, password: 'new' }).config)).not.toContain('new')
})

it('names what is wrong by field', () => {
  const values = { ...initialValues(fields), retries: 9, timeout: 'soon', labels: '{' }
  expect(submit(fields, values).problems).toEqual({ url: 'required', password: 'required', retries: 'max', timeout: 'duration', labels: 'json' })
  expect(submit(fields, { ...values, retries: '1.5' }).problems.retries).toBe('integer')
})

it('an emptied list stays empty instead of turning into its default', () => {
  expect(submit(fields, { ...initialValues(fields), targets: [] }).config.targets).toEqual([])
})

it('names and values are lines, both ways', () => {
  const values = initialValues(fields, { headers: { 'X-Team': 'blue: sky' } })
  expect(values.headers).toBe('X-Team: blue: sky')
  expect(submit(fields, values).config.headers).toEqual({ 'X-Team': 'blue: sky' })
  expect(submit(fields, { ...values, headers: 'no colon here' }).problems.headers).toBe('pairs')
})

it('a permission shows what the form grants', () => {
  const config = { targets: ['10.0.0.0/24', '10.1.0.0/24'], tls: { name: 'x' }, empty: [] }
  expect(resolved(['${config.targets}', 'tcp', '${config.tls.name}'], config)).toEqual(['10.0.0.0/24', '10.1.0.0/24', 'tcp', 'x'])
  expect(resolved(['${config.empty}', '${config.missing.deep}'], config)).toEqual(['${config.empty}', '${config.missing.deep}'])
})

it('labels read like words', () => {
  expect(labelOf('max_addresses')).toBe('Max addresses')
  expect(labelOf('webhook_url')).toBe('Webhook URL')
})

it('a schema of nothing is a form of nothing', () => {
  expect(fieldsOf(null)).toEqual([])
  expect(submit([], {})).toEqual({ config: {}, secrets: {}, problems: {} })
})
