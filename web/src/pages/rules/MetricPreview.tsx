import { NativeSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { metricRulePreview, watched, type MetricRuleTerms, type RulePreview } from '../../api/metricrules'
import { TimeChart } from '../../charts/TimeChart'
import { count, duration } from '../../lib/format'
import { drawn, seriesName } from '../../lib/metricRule'
import { StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Problem } from '../../ui/states'
import { Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from './rules.module.css'

const spans = [1, 24, 168] as const
const colors = ['c1', 'c2', 'c3', 'c4', 'c5', 'c6'] as const
/** The end of what is looked at is a round moment, soon after the page was opened: what is newest counts. */
const grain = 10_000

/** What a rule would have raised from what is stored, beside what it compares. */
export function MetricPreview({ terms, ready }: { terms: MetricRuleTerms; ready: boolean }) {
  const { t } = useTranslation()
  const [hours, setHours] = useState(24)
  const [to] = useState(() => Math.ceil(Date.now() / grain) * grain)
  // What it is called and who hears of it changes nothing of what it finds.
  const asked = { ...blankWords, expr: terms.expr, stays: terms.stays, for: terms.for, keep: terms.keep, every: terms.every, no_data: terms.no_data, summary: terms.summary, group: terms.group }
  const query = useQuery({ ...metricRulePreview(asked, to, hours), enabled: ready })
  return (
    <Panel title={t('metricRule.preview')}>
      <NativeSelect label={t('metricRule.hours')} value={hours} onChange={(e) => setHours(Number(e.currentTarget.value))} data={spans.map((n) => ({ value: String(n), label: t(`metricRule.hour.${n}`) }))} />
      <div role="status">
        {!ready ? <p className="dim">{t('metricRule.wait')}</p>
          : query.isError ? <Problem error={query.error} retry={() => void query.refetch()} />
          : query.data ? <p className={css.would}>{query.data.alerts === 0 ? t('metricRule.wouldNot') : t('metricRule.would', { count: query.data.alerts, series: count(query.data.instances) })}</p>
          : <p><StateMark tone="busy">{t('metricRule.looking')}</StateMark></p>}
      </div>
      {ready && query.data && !query.isError && <Found found={query.data} to={to} hours={hours} />}
    </Panel>
  )
}

const blankWords = { title: '–', severity: 'info', enabled: true } as const

function Found({ found, to, hours }: { found: RulePreview; to: number; hours: number }) {
  const { t } = useTranslation()
  return (
    <>
      {found.watched && <Chart found={found} expr={found.watched} to={to} hours={hours} />}
      {found.longest.length > 0 && (
        <ul className={css.found} tabIndex={0} aria-label={t('metricRule.preview')}>
          {found.longest.map((x) => (
            <li key={JSON.stringify(x.labels)}>
              <span className="break">{x.summary}</span>
              <span className={ui.sub}>
                {x.times.length > 3 && <>{t('metricRule.times', { count: x.times.length })}, </>}
                {x.times.slice(-3).map((s, i) => <span key={s.from}>{i > 0 && ', '}<Time at={s.from} /> – {s.to ? <Time at={s.to} /> : t('metricRule.goesOn')}</span>)}
              </span>
            </li>
          ))}
        </ul>
      )}
      <p className={ui.sub}>{t('metricRule.step', { step: duration(found.step) })}</p>
    </>
  )
}

function Chart({ found, expr, to, hours }: { found: RulePreview; expr: string; to: number; hours: number }) {
  const { t } = useTranslation()
  const [at, setAt] = useState<number | null>(null)
  const query = useQuery(watched(expr, to, hours, found.step))
  const all = query.data?.lines ?? []
  if (query.isError || all.length === 0) return null
  const from = to - hours * 3_600_000
  const shown = drawn(all, found.longest, colors.length).map((l, i) => ({ name: seriesName(l.metric), color: colors[i]!, points: l.points }))
  const lines = found.limit === undefined ? shown : [...shown, { name: t('metricRule.limit'), color: 'bad', points: [[from, found.limit], [to, found.limit]] as [number, number][] }]
  return (
    <>
      <TimeChart title={t('metricRule.chart')} lines={lines} unit="" from={from} to={to} stepSeconds={Math.max(found.step, hours * 3600)} at={at} onPoint={setAt} />
      {all.length > shown.length && <p className={ui.sub}>{t('metricRule.shownLines', { count: shown.length, all: count(all.length) })}</p>}
    </>
  )
}
