import { expect, it } from 'vitest'
import { tokenIn } from './linkToken'

it('reads the token of a one-time link', () => {
  expect(tokenIn('#token=a-B_9')).toBe('a-B_9')
  expect(tokenIn('#token=')).toBeNull()
  expect(tokenIn('#other=1')).toBeNull()
  expect(tokenIn('')).toBeNull()
})
