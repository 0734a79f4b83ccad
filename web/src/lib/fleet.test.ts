import { expect, it } from 'vitest'
import { wantedIn } from './fleet'

it('takes the version of the group before that of all', () => {
  const p = { wanted: '1.4.2', wanted_by_group: { lab: '1.5.0' } }
  expect([wantedIn(p, 'lab'), wantedIn(p, 'edge'), wantedIn(p, undefined), wantedIn({ wanted: '1.4.2' }, 'lab')]).toEqual(['1.5.0', '1.4.2', '1.4.2', '1.4.2'])
})
