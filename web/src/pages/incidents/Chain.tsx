// The kill chain in one line: which of its places an incident has been in.
import { useTranslation } from 'react-i18next'
import type { IncidentStage } from '../../api/types'
import { chain, stageNames } from '../../lib/incident'
import css from './incidents.module.css'

export function Chain({ stages }: { stages: IncidentStage[] }) {
  const { t } = useTranslation()
  const names = stageNames(stages)
  const said = names.length > 0 ? t('incidents.stages', { count: names.length, names: names.join(', ') }) : t('incidents.noStage')
  return (
    <span className={css.chain} title={said}>
      <span className={css.links} aria-hidden="true">{chain.map((name) => <i key={name} data-on={names.includes(name) || undefined} />)}</span>
      <span className="visually-hidden">{said}</span>
      <span className={css.stageWords} aria-hidden="true">{names.length > 1 ? t('incidents.upTo', { count: names.length, name: names.at(-1) }) : (names[0] ?? '–')}</span>
    </span>
  )
}
