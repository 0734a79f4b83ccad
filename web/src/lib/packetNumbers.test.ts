import { expect, test } from 'vitest'
import { packetsText, readPackets } from './packetNumbers'

test('numbers of packets are written and read again', () => {
  expect(packetsText([12, 3, 4, 5, 4])).toBe('3-5,12')
  expect(readPackets('3-5,12')).toEqual([3, 4, 5, 12])
  expect(readPackets(' 7 ,5-5')).toEqual([5, 7])
})

test('what is no number is left out, and there are never too many', () => {
  expect(readPackets('')).toEqual([])
  expect(readPackets('0,-1,1e3,x,9-3,2')).toEqual([2])
  expect(readPackets('1-999999999999999')).toHaveLength(1000)
})
