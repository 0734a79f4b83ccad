// When what happened: a lane for each tactic in the order of the kill chain, a mark for each alert. A mark leads to its alert.
import { Link } from '@tanstack/react-router'
import { Fragment, useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Alert, IncidentDetail } from '../../api/types'
import { clock, second } from '../../lib/format'
import { courseOf, ticksOf } from '../../lib/incident'
import { SeverityMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Time } from '../../ui/Time'
import { between } from '../words'
import css from './incidents.module.css'

const rowHeight = 18
const ticks = 5

export function CoursePanel({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  const course = useMemo(() => courseOf(i.alerts, i.stages), [i.alerts, i.stages])
  const [shown, setShown] = useState<Alert | null>(null)
  const span = course.to - course.from
  const moment = (time: number) => (span < 6 * 3600_000 ? second : clock)(new Date(time), new Date(0))
  const short = (time: number) => {
    const d = new Date(time)
    return span < 20 * 3600_000 ? d.toLocaleTimeString('en-GB', span < 600_000 ? {} : { hour: '2-digit', minute: '2-digit' }) : `${d.getDate()}.${d.getMonth() + 1}. ${d.toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })}`
  }
  return (
    <Panel title={t('incident.course')} hint={t('incident.courseHint')}>
      <div className={css.course} onMouseLeave={() => setShown(null)}>
        {course.lanes.map((lane) => {
          const name = lane.name || t('incident.noTactic')
          return (
            <Fragment key={lane.name}>
              <div className={css.laneName} aria-hidden="true">{name}</div>
              <ul className={css.lane} aria-label={name} style={{ height: lane.rows * rowHeight + 12 }}>
                {lane.marks.map(({ alert: a, from, to, row }) => (
                  <li key={a.id}>
                    <Link to="/alerts/$id" params={{ id: a.id }} preload={false} className={css.mark} data-severity={a.severity} onFocus={() => setShown(a)} onMouseEnter={() => setShown(a)}
                      style={{ left: `${from * 100}%`, width: `${(to - from) * 100}%`, top: row * rowHeight + 7 }}
                      aria-label={t('incident.mark', { title: a.title, severity: t(`severity.${a.severity}`), from: moment(Date.parse(a.first_seen)), to: moment(Date.parse(a.last_seen)) })} />
                  </li>
                ))}
              </ul>
            </Fragment>
          )
        })}
        <div className={css.axis} aria-hidden="true">
          {ticksOf(course.from, course.to, ticks).filter((at) => at - course.from > span * 0.04 && course.to - at > span * 0.04)
            .map((at) => <span key={at} style={{ left: `${((at - course.from) / span) * 100}%` }}>{short(at)}</span>)}
        </div>
      </div>
      <p className={css.said} aria-hidden="true">
        {shown ? <><SeverityMark severity={shown.severity} label={false} /> {shown.title}<br /><span className="dim">{between(shown.src, shown.dst)} · <Time at={shown.first_seen} /> – <Time at={shown.last_seen} /></span></>
          : <span className="dim">{moment(course.from)} – {moment(course.to)}</span>}
      </p>
      {course.left > 0 && <p className="dim">{t('incident.courseLeft', { count: course.left })}</p>}
    </Panel>
  )
}
