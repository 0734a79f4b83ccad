import { useTranslation } from 'react-i18next'
import type { Incident } from '../../api/types'
import css from './incidents.module.css'

/** The risk as a number and a bar; the severity of the worst alert gives it its colour. */
export function Risk({ of: i }: { of: Pick<Incident, 'risk' | 'severity'> }) {
  const { t } = useTranslation()
  return (
    <span className={css.risk} data-severity={i.severity}>
      <b className="num">{i.risk}</b><span className="visually-hidden"> {t('incident.of100')}, {t(`severity.${i.severity}`)}</span>
      <span className={css.riskBar} aria-hidden="true"><span style={{ width: `${i.risk}%` }} /></span>
    </span>
  )
}
