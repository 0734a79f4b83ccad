import { expect, it } from 'vitest'
import { csrfToken, problemFrom } from './http'

it('a problem document keeps its words and its fields', () => {
  const body = JSON.stringify({
    status: 422,
    title: 'Unprocessable Entity',
    detail: 'must have at least 10 characters',
    errors: [{ location: 'body.password', message: 'must have at least 10 characters' }, 'nonsense'],
  })
  expect(problemFrom(422, '', body)).toMatchObject({
    status: 422,
    title: 'Unprocessable Entity',
    detail: 'must have at least 10 characters',
    fields: [{ path: 'body.password', message: 'must have at least 10 characters' }],
  })
})

it('an answer that is no problem document still says something', () => {
  expect(problemFrom(502, 'Bad Gateway', 'upstream is down')).toMatchObject({ title: 'Bad Gateway', detail: 'upstream is down' })
  expect(problemFrom(502, '', `<html>${'x'.repeat(400)}`)).toMatchObject({ title: 'HTTP 502', detail: '' })
  expect(problemFrom(500, 'Internal', 'null')).toMatchObject({ title: 'Internal' })
})

it('finds the CSRF cookie among others', () => {
  expect(csrfToken('a=1; picket_csrf=x%3D%3D; picket_csrf_old=2')).toBe('x==')
  expect(csrfToken('xpicket_csrf=1')).toBe('')
})
