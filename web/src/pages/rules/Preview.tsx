import '../../locales/traffic'
import { NativeSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ruleTrial, type RulesFound } from '../../api/rules'
import { count } from '../../lib/format'
import { StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Problem } from '../../ui/states'
import { Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from './rules.module.css'

const spans = [1, 24, 72, 168] as const

/** What the rules of a text would have found in what is stored. It is asked for once they are right and nobody writes. */
export function Preview({ text, ready, rule }: { text: string; ready: boolean; rule: string | undefined }) {
  const { t } = useTranslation()
  const [hours, setHours] = useState(24)
  const query = useQuery({ ...ruleTrial(text, hours), enabled: ready })
  const found = ready ? query.data?.found : undefined
  return (
    <Panel title={t('rule.preview')}>
      <NativeSelect label={t('rule.hours')} value={hours} onChange={(e) => setHours(Number(e.currentTarget.value))}
        data={spans.map((n) => ({ value: String(n), label: t(`rule.hour.${n}`) }))} />
      <div role="status">
        {!ready ? <p className="dim">{t('rule.previewLater')}</p>
          : query.isError ? <Problem error={query.error} retry={() => void query.refetch()} />
          : found ? <Found found={found} rule={rule} /> : <p><StateMark tone="busy">{t('rule.looking')}</StateMark></p>}
      </div>
    </Panel>
  )
}

function Found({ found, rule }: { found: RulesFound; rule: string | undefined }) {
  const { t } = useTranslation()
  const rules = rule === undefined ? found.rules : found.rules.filter((r) => r.rule === rule)
  const times = rules.reduce((sum, r) => sum + r.findings, 0)
  const list = rules.flatMap((r) => r.examples)
  return (
    <>
      <p className={css.would}>{times === 0 ? t('rule.wouldNot') : t('rule.would', { count: times, times: count(times) })}</p>
      <p className={ui.sub}>
        {found.records === 0 ? t('rule.nothingStored') : t('rule.looked', { records: count(found.records), recordings: t('rule.recordings', { count: found.recordings }) })}
        {found.stopped && ` ${t('rule.stopped', { why: found.stopped })}`}
      </p>
      {rules.some((r) => r.too_dear) && <p><StateMark tone="warn">{t('rule.tooDear')}</StateMark></p>}
      {list.length > 0 && (
        <ul className={css.found} tabIndex={0} aria-label={t('rule.preview')}>
          {list.map(({ capture, finding }, i) => (
            <li key={i}>
              <span className="break">{finding.summary}</span>
              <span className={`${ui.sub} ${css.places}`}>
                <Time at={finding.start} />
                {finding.flows?.slice(0, 3).map((f) => <Link key={f.id} to="/captures/$id/flows/$flow" params={{ id: capture, flow: String(f.id) }} target="_blank">{t('rule.flow', { id: f.id })}</Link>)}
              </span>
            </li>
          ))}
          {times > list.length && <li>{t('rule.more', { count: times - list.length })}</li>}
        </ul>
      )}
    </>
  )
}
