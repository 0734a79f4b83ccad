import { expect, test } from 'vitest'
import { queryOfView, viewOfQuery } from './savedViews'

test('a saved view is the same address again', () => {
  const address = { app: 'tls', port: 443, min_duration: 0.5, host: '2001:db8::/32', text: 'a&b=c', from: 1000, to: 2000, sort: '-bytes' as const, cols: '' }
  expect(viewOfQuery(queryOfView(address))).toEqual(address)
})

test('what is not understood is left out', () => {
  expect(viewOfQuery('port=nine&app=dns&__proto__=x&sort=evil')).toEqual({ app: 'dns' })
  expect(viewOfQuery('')).toEqual({})
})
