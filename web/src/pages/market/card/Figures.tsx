// What a release costs and how well it judges, as the registry measured it. The bars are for the eye; every number is
// written out beside its bar.
import { useTranslation } from 'react-i18next'
import { runs, type MarketPlugin, type QualityFigure } from '../../../api/market'
import { axisValue, bytes, duration, number, percent } from '../../../lib/format'
import '../../../locales/plugins'
import { Meter } from '../../../ui/marks'
import { Panel } from '../../../ui/Page'
import ui from '../../../ui/ui.module.css'
import { OutLink } from './About'
import css from '../card.module.css'

export const hasFigures = (p: MarketPlugin): boolean => runs(p) && (!!p.card?.resources || (p.card?.quality?.length ?? 0) > 0)

export function Figures({ plugin: p }: { plugin: MarketPlugin }) {
  return (
    <>
      {p.card?.resources && <Costs plugin={p} />}
      {p.card?.quality && p.card.quality.length > 0 && <Quality figures={p.card.quality} />}
    </>
  )
}

function Costs({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const r = p.card!.resources!
  return (
    <Panel title={t('card.costs')} hint={r.machine && t('card.measuredOn', { machine: r.machine })}>
      <dl className={css.costs}>
        {!!r.memory_bytes && <div><dt>{t('plugins.memory')}</dt><dd>{bytes(r.memory_bytes)}</dd></div>}
        {!!r.cpu_millis_per_second && <div><dt>{t('card.cpu')}</dt><dd>{percent(r.cpu_millis_per_second / 1000)}<small> {t('card.ofCore')}</small></dd></div>}
        {!!r.start_millis && <div><dt>{t('card.start')}</dt><dd>{duration(r.start_millis / 1000)}</dd></div>}
        {!!r.nanos_per_record && <div><dt>{t('card.perRecord')}</dt><dd>{axisValue(r.nanos_per_record / 1e9, 's')}</dd></div>}
      </dl>
    </Panel>
  )
}

export function Quality({ figures }: { figures: QualityFigure[] }) {
  const { t } = useTranslation()
  return (
    <Panel title={t('card.quality')} hint={t('card.qualityHint')} flush>
      <div className={ui.tableWrap} tabIndex={0} role="region" aria-label={t('card.qualityHint')}>
        <table className={`${ui.table} ${css.quality}`}>
          <caption className="visually-hidden">{t('card.quality')}</caption>
          <thead>
            <tr>
              <th scope="col">{t('card.dataset')}</th>
              <th scope="col">{t('card.precision')}</th>
              <th scope="col">{t('card.recall')}</th>
              <th scope="col" className={ui.right}>{t('card.falseAlarms')}</th>
            </tr>
          </thead>
          <tbody>
            {figures.map((q, n) => (
              <tr key={n}>
                <td>
                  {q.family}
                  <div className={ui.sub}>
                    {q.source ? <OutLink to={q.source}>{q.dataset}</OutLink> : q.dataset}
                    {q.captures > 0 && <> · {t('card.captures', { count: q.captures })}</>}
                  </div>
                </td>
                <td><Share value={q.precision} label={t('card.precision')} /></td>
                <td><Share value={q.recall} label={t('card.recall')} /></td>
                <td className={`${ui.right} num`}>{number(q.false_positives_per_hour)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Panel>
  )
}

function Share({ value, label }: { value: number; label: string }) {
  return <span className={css.share}><span className="num">{percent(value)}</span><Meter value={Number((value * 100).toFixed(1))} of={100} label={label} /></span>
}
