import { expect, it } from 'vitest'
import { takeEarly } from './early'

const get = (path: string, method = 'GET') => ({ method, url: `http://x${path}` })

it('an early answer is taken once, by the request that it was for', () => {
  const answer = Promise.resolve(new Response('{}'))
  const from = { picketEarly: { '/api/v1/me': answer } }
  expect(takeEarly(get('/api/v1/me?x=1'), from, 0)).toBeUndefined()
  expect(takeEarly(get('/api/v1/me', 'POST'), from, 0)).toBeUndefined()
  expect(takeEarly(get('/api/v1/me'), from, 60_000), 'it is old').toBeUndefined()
  expect(takeEarly(get('/api/v1/me'), from, 0)).toBe(answer)
  expect(takeEarly(get('/api/v1/me'), from, 0)).toBeUndefined()
  expect(takeEarly(get('/api/v1/me'), {}, 0), 'nothing was asked for').toBeUndefined()
})
