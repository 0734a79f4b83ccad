// How well the release that may run does on public captures, as the registry measured it.
import '../../locales/market'
import { useQuery } from '@tanstack/react-query'
import { marketPlugin } from '../../api/market'
import type { Plugin } from '../../api/types'
import { Quality } from '../market/card/Figures'

export default function DetectorQuality({ plugin: p }: { plugin: Plugin }) {
  const { data } = useQuery({ ...marketPlugin(p.id, p.version), retry: false })
  const figures = data?.card?.quality
  return figures && figures.length > 0 ? <Quality figures={figures} /> : null
}
