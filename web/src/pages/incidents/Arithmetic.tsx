// The risk, and how it comes about: each line as the server computed it, in words and as a number.
import { useTranslation } from 'react-i18next'
import type { IncidentDetail, IncidentJudged, IncidentStep } from '../../api/types'
import { number, wholePercent } from '../../lib/format'
import { Meter, SeverityMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import css from './incidents.module.css'

export function Arithmetic({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  const risk = i.arithmetic.filter((s) => s.of === 'risk')
  const total = risk.findIndex((s) => s.why.startsWith('together:'))
  return (
    <Panel title={t('incident.riskTitle')} hint={<SeverityMark severity={i.severity} />}>
      <div className={css.score}>
        <div>
          <span className={css.figure}><span className="num">{i.risk}</span> <small>{t('incident.of100')}</small></span>
          <Meter value={i.risk} of={100} label={t('incident.riskTitle')} />
        </div>
        <div>
          <span className={css.figure}><span className="num">{wholePercent(i.confidence)}</span> <small>{t('incident.confidence')}</small></span>
          <Meter value={Math.round(i.confidence * 100)} of={100} label={t('incident.confidence')} />
        </div>
      </div>
      {i.judged && <Judged judged={i.judged} now={i.risk} />}
      <h3>{t('incident.how')}</h3>
      <Sum caption={t('incident.parts')} steps={risk.slice(0, total)} />
      <Sum total caption={t('incident.sum')} steps={risk.slice(total)} />
      <Sum total caption={t('incident.confidenceHow')} steps={i.arithmetic.filter((s) => s.of === 'confidence')} />
    </Panel>
  )
}

function Judged({ judged: j, now }: { judged: IncidentJudged; now: number }) {
  const { t } = useTranslation()
  const what = (['false', 'benign', 'true'] as const).filter((v) => j[v] > 0).map((v) => t(`incident.judged.${v}`, { count: j[v] })).join(', ')
  return <p className={css.judged}>{j.risk_before === now ? t('incident.judgedSame', { now, what }) : t('incident.judgedLine', { before: j.risk_before, now, what })}</p>
}

function Sum({ caption, steps, total }: { caption: string; steps: IncidentStep[]; total?: boolean }) {
  if (steps.length === 0) return null
  return (
    <table className={css.sum} data-total={total}>
      <caption>{caption}</caption>
      <tbody>
        {steps.map((s, n) => <tr key={n}><th scope="row">{s.why}</th><td className="num">{number(s.value)}</td></tr>)}
      </tbody>
    </table>
  )
}
