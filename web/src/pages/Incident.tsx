// One incident: how risky and why, its course, who did what to whom, what it rests on, and what people make of it.
import '../locales/alerts'
import '../locales/incident'
import { Button, NativeSelect } from '@mantine/core'
import { useLocalStorage } from '@mantine/hooks'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useParams } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { incident, incidentDeed, owners } from '../api/incidents'
import type { Alert, IncidentDetail } from '../api/types'
import { useMay } from '../api/useMay'
import { count } from '../lib/format'
import { deedOf } from '../lib/triage'
import { LoadedPage } from '../ui/LoadedPage'
import { SeverityMark, State } from '../ui/marks'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Problem } from '../ui/states'
import { Techniques } from '../ui/Techniques'
import { Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { useKeys } from '../ui/useKeys'
import { AlertsPanel } from './incidents/AlertsPanel'
import { Arithmetic } from './incidents/Arithmetic'
import { CoursePanel } from './incidents/Course'
import { GraphPanel } from './incidents/GraphPanel'
import css from './incidents/incidents.module.css'
import { Judge } from './incidents/Judge'
import { Notes } from './incidents/Notes'
import { ownerName } from './incidents/owner'

// Dialogs that few visits need.
const Keys = lazy(() => import('./alerts/Keys'))
const SuppressDialog = lazy(() => import('./incidents/SuppressDialog'))

export function IncidentPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/incidents/$id' })
  const query = useQuery(incident(id))
  return (
    <LoadedPage query={query} title={t('incident.title')} back={{ to: '/incidents', label: t('incidents.title') }}>
      {(i) => <Detail key={i.id} incident={i} asked={id} />}
    </LoadedPage>
  )
}

function Detail({ incident: i, asked }: { incident: IncidentDetail; asked: string }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const can = useMay()
  const [keys, setKeys] = useState(false)
  const [suppressing, setSuppressing] = useState<Alert | null>(null)
  const [letters, setLetters] = useLocalStorage({ key: 'picket-letter-keys', defaultValue: true })
  const change = useMutation({
    mutationFn: (to: 'acknowledge' | 'close' | 'reopen') => incidentDeed[to](i.id),
    onSuccess: () => Promise.all([client.invalidateQueries({ queryKey: ['incidents'] }), client.invalidateQueries({ queryKey: ['overview'] })]),
  })
  const riskiest = i.alerts.reduce<Alert | undefined>((a, b) => (a && a.risk >= b.risk ? a : b), undefined)
  const suppressible = can('audit') ? setSuppressing : undefined

  useKeys((event) => {
    if (keys || suppressing) return
    const deed = deedOf(event, letters)
    if (deed === 'help') setKeys(true)
    else if (deed === 'acknowledge' && can('watch') && i.state === 'open') change.mutate('acknowledge')
    else if (deed === 'resolve' && can('watch') && i.state !== 'closed') change.mutate('close')
    else if (deed === 'suppress' && suppressible) {
      const id = (event.target as HTMLElement).closest<HTMLElement>('[data-alert]')?.dataset.alert
      const like = i.alerts.find((a) => a.id === id) ?? riskiest
      if (like) suppressible(like)
    } else return
    event.preventDefault()
  })

  const button = (to: 'acknowledge' | 'close' | 'reopen', main = false) => (
    <Button variant={main ? 'filled' : 'default'} loading={change.isPending && change.variables === to} onClick={() => change.mutate(to)}>{t(`incident.${to}`)}</Button>
  )
  return (
    <Page title={i.title} back={{ to: '/incidents', label: t('incidents.title') }}
      lead={<>{t('incidents.alertCount', { count: i.alert_count })}, {t('incidents.hosts', { count: i.entity_count })}, <Time at={i.first_seen} /> – <Time at={i.last_seen} /></>}
      actions={can('watch') && (
        <>
          <Button variant="default" onClick={() => setKeys(true)}>{t('triage.keys')}</Button>
          {i.state === 'open' && button('acknowledge')}
          {i.state === 'closed' ? button('reopen') : button('close', true)}
        </>
      )}>
      <Suspense>
        {keys && <Keys of="incident" onClose={() => setKeys(false)} letters={letters} onLetters={setLetters} />}
        {suppressing && <SuppressDialog like={suppressing} onClose={() => setSuppressing(null)} />}
      </Suspense>
      {change.isError && <Problem error={change.error} />}
      {asked !== i.id && <p className="dim">{t('incident.merged')}</p>}
      <div className={ui.columns}>
        <div className={ui.stack}>
          <Arithmetic incident={i} />
          <CoursePanel incident={i} />
          <GraphPanel incident={i} />
          <AlertsPanel incident={i} onSuppress={suppressible} />
        </div>
        <div className={ui.stack}>
          <Panel title={t('incident.facts')}>
            <Facts>
              <Fact name={t('incident.state')}><State of={i.state} /></Fact>
              <Fact name={t('incident.severity')}><SeverityMark severity={i.severity} /></Fact>
              <Fact name={t('incident.owner')}><Owner incident={i} /></Fact>
              <Fact name={t('incident.first')}><Time at={i.first_seen} /></Fact>
              <Fact name={t('incident.last')}><Time at={i.last_seen} /></Fact>
              <Fact name={t('incident.hosts')}><span className="num">{count(i.entity_count)}</span></Fact>
            </Facts>
          </Panel>
          <Judge of={{ incident: i.id }} incident={i.id} feedback={i.feedback} />
          <Notes incident={i} />
          <Panel title={t('incident.techniques')}>
            <div className={css.stages}>
              {i.stages.map((s) => (
                <section key={s.tactic}>
                  <h3>{s.name}</h3>
                  <Techniques ids={s.techniques.map((x) => x.id)} long matrix />
                </section>
              ))}
            </div>
            {i.stages.length === 0 && <p className="dim">{t('incidents.noStage')}</p>}
          </Panel>
        </div>
      </div>
    </Page>
  )
}

/** Who looks after it; anybody who may can change that while it is not closed. */
function Owner({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const can = useMay()
  const { data } = useQuery({ ...owners, enabled: can('watch') })
  const assign = useMutation({
    mutationFn: (name: string) => incidentDeed.assign(i.id, name),
    onSuccess: async (_, name) => {
      tell.done(name ? t('incident.assigned', { name }) : t('incident.unassigned'))
      await client.invalidateQueries({ queryKey: ['incidents'] })
    },
    onError: tell.failed,
  })
  const now = ownerName(i.owner ?? '')
  if (!can('watch') || i.state === 'closed') return <>{now || <span className="dim">{t('incident.nobody')}</span>}</>
  const names = [...new Set([now, ...(data?.items ?? []).map((o) => o.name)])].filter(Boolean)
  return (
    <NativeSelect size="xs" aria-label={t('incident.ownerLabel')} value={now} disabled={assign.isPending} onChange={(e) => assign.mutate(e.currentTarget.value)}
      data={[{ value: '', label: t('incident.nobody') }, ...names]} />
  )
}
