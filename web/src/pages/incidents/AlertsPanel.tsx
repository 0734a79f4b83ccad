// The alerts of an incident, each with what it rests on.
import { Button } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { alert } from '../../api/queries'
import type { Alert, IncidentDetail } from '../../api/types'
import '../../locales/alerts'
import { SeverityMark, State } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Loading, Problem } from '../../ui/states'
import { Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import { Evidence, Features } from '../alerts/Evidence'
import { between } from '../words'
import css from './incidents.module.css'

const atOnce = 25

interface Props {
  incident: IncidentDetail
  /** Absent when the role does not allow it. */
  onSuppress: ((a: Alert) => void) | undefined
}

export function AlertsPanel({ incident: i, onSuppress }: Props) {
  const { t } = useTranslation()
  const [shown, setShown] = useState(atOnce)
  const hint = i.alerts.length < i.alert_count ? t('incident.alertsFirst', { shown: i.alerts.length, count: i.alert_count }) : t('incident.alertsHint', { count: i.alert_count })
  return (
    <Panel title={t('incident.alerts')} hint={hint} flush>
      <ul className={css.alerts}>{i.alerts.slice(0, shown).map((a) => <li key={a.id} data-alert={a.id}><Entry alert={a} onSuppress={onSuppress} /></li>)}</ul>
      {shown < i.alerts.length && <div className={ui.more}><Button size="xs" variant="default" onClick={() => setShown(shown + 100)}>{t('more')}</Button></div>}
    </Panel>
  )
}

function Entry({ alert: a, onSuppress }: { alert: Alert } & Pick<Props, 'onSuppress'>) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  return (
    <details className={css.alert} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>
        <SeverityMark severity={a.severity} label={false} />
        <span className={css.alertTitle}>{a.title}</span>
        <State of={a.state} />
        <span className={css.alertSub}><span className="mono">{between(a.src, a.dst)}</span> · {a.detector} · {t('alert.seen', { count: a.count })} · <Time at={a.first_seen} /></span>
      </summary>
      {open && (
        <div className={css.inside}>
          <p className={css.deeds}>
            <Link to="/alerts/$id" params={{ id: a.id }}>{t('incident.open')}</Link>
            {onSuppress && <Button size="compact-xs" variant="default" onClick={() => onSuppress(a)}>{t('incident.suppressOne')}</Button>}
          </p>
          <Ground id={a.id} />
        </div>
      )}
    </details>
  )
}

function Ground({ id }: { id: string }) {
  const query = useQuery(alert(id))
  if (query.isError) return <Problem error={query.error} retry={() => void query.refetch()} />
  if (!query.data) return <Loading rows={3} />
  return (
    <>
      <Evidence alert={id} places={query.data.evidence} findings={query.data.findings} />
      <Features finding={query.data.findings.at(-1)} />
    </>
  )
}
