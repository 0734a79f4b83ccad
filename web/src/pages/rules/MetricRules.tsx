// The rules over metrics: what each finds now, and how it does.
import '../../locales/metricrules'
import { Button } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { metricRuleActions, metricRules, type MetricRule } from '../../api/metricrules'
import { useMay } from '../../api/useMay'
import { termsOf } from '../../lib/metricRule'
import { SeverityMark, StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Loaded } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './rules.module.css'

export function MetricRules() {
  const { t } = useTranslation()
  const query = useQuery(metricRules)
  return (
    <Panel title={t('metricRules.list')} flush>
      <Loaded query={query}>{({ items }) => <List items={items} />}</Loaded>
    </Panel>
  )
}

/** How a rule does, the most important first. */
export function RuleState({ rule: r }: { rule: MetricRule }) {
  const { t } = useTranslation()
  if (!r.enabled) return <StateMark tone="off">{t('metricRules.off')}</StateMark>
  if (r.firing > 0) return <StateMark tone="bad">{t('metricRules.firing', { count: r.firing })}</StateMark>
  if (r.problem) return <StateMark tone="warn">{t('metricRules.failed')}</StateMark>
  if (r.pending > 0) return <StateMark tone="busy">{t('metricRules.pending', { count: r.pending })}</StateMark>
  if (!r.evaluated) return <StateMark tone="busy">{t('metricRules.waits')}</StateMark>
  return <StateMark tone="good">{t('metricRules.quiet')}</StateMark>
}

function List({ items }: { items: MetricRule[] }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [busy, setBusy] = useState('')
  const toggle = async (r: MetricRule) => {
    setBusy(r.name)
    try {
      await metricRuleActions.change(r.name, { ...termsOf(r), enabled: !r.enabled })
      tell.done(t(r.enabled ? 'metricRules.isOff' : 'metricRules.isOn', { name: r.name }))
      await client.invalidateQueries({ queryKey: ['metric-rules'] })
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy('')
    }
  }
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('metricRules.list')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('metricRules.rule')}</th>
          <th scope="col" className={ui.medium}>{t('metricRules.severity')}</th>
          <th scope="col">{t('metricRules.state')}</th>
          <th scope="col" className={ui.wide}>{t('metricRules.looked')}</th>
          {can('audit') && <th scope="col" className={ui.medium}><span className="visually-hidden">{t('metricRules.deeds')}</span></th>}
        </tr>
      </thead>
      <tbody>
        {items.map((r) => (
          <tr key={r.name} className={ui.row} data-rule={r.name}>
            <td className="break">
              <Link className={ui.main} to="/rules/metrics/$name" params={{ name: r.name }}>{r.title}</Link>
              <div className={ui.sub}>{r.name}{!r.ships ? `, ${t('metricRules.own')}` : r.changed && `, ${t('metricRules.changed')}`}</div>
            </td>
            <td className={ui.medium}><SeverityMark severity={r.severity} /></td>
            <td className="break"><RuleState rule={r} />{r.problem && r.enabled && <div className={ui.sub}>{r.problem}</div>}</td>
            <td className={ui.wide}>{r.enabled && r.evaluated ? <Ago at={r.evaluated} /> : '–'}</td>
            {can('audit') && (
              <td className={ui.medium}>
                <div className={css.deeds}>
                  <Button size="compact-xs" variant="default" loading={busy === r.name} aria-label={t(r.enabled ? 'metricRules.disableOne' : 'metricRules.enableOne', { name: r.name })} onClick={() => void toggle(r)}>
                    {t(r.enabled ? 'metricRules.disable' : 'metricRules.enable')}
                  </Button>
                </div>
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  )
}
