import { useTranslation } from 'react-i18next'
import { count } from '../../lib/format'
import type { MachineGroup } from '../../lib/groups'
import { StateMark } from '../../ui/marks'
import css from './groups.module.css'

/** How many machines are there, and how many are not. */
export function Counts({ of: n }: { of: MachineGroup['counts'] }) {
  const { t } = useTranslation()
  return (
    <span className={`${css.counts} num`}>
      <StateMark tone={n.online > 0 ? 'good' : 'off'}>{t('group.online', { formatted: count(n.online) })}</StateMark>
      {n.late > 0 && <StateMark tone="warn">{t('group.late', { formatted: count(n.late) })}</StateMark>}
      {n.offline > 0 && <StateMark tone="bad">{t('group.offline', { formatted: count(n.offline) })}</StateMark>}
    </span>
  )
}
