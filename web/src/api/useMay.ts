import { useQuery } from '@tanstack/react-query'
import { may, type Deed } from '../lib/roles'
import { me } from './queries'

export function useMay(): (deed: Deed) => boolean {
  const { data } = useQuery(me)
  return (deed) => may(data, deed)
}
