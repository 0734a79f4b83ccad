// How far back charts look, and the control that says so.
import { SegmentedControl } from '@mantine/core'
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'

const ranges = [
  ['15m', 900],
  ['1h', 3600],
  ['6h', 6 * 3600],
  ['24h', 86400],
  ['7d', 7 * 86400],
] as const

export type RangeName = (typeof ranges)[number][0]

export const secondsOf = (range: RangeName): number => ranges.find(([name]) => name === range)![1]

/** A range that somebody can change; what it is of makes the control's name unique on its page. */
export function useRange(initial: RangeName, of?: string): { seconds: number; control: ReactNode } {
  const { t } = useTranslation()
  const [range, setRange] = useState<RangeName>(initial)
  const label = of ? `${t('overview.range')}: ${of}` : t('overview.range')
  return {
    seconds: secondsOf(range),
    control: <SegmentedControl aria-label={label} size="xs" value={range} onChange={(r) => setRange(r as RangeName)} data={ranges.map(([name]) => name)} />,
  }
}
