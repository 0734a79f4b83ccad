// What is kept from becoming alerts, and the lists of well-known hosts that count less.
import '../locales/alerts'
import '../locales/incident'
import { Button } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { suppress, suppressed, suppressions, warningLists } from '../api/incidents'
import type { Suppression } from '../api/types'
import { useMay } from '../api/useMay'
import { count } from '../lib/format'
import { Confirm } from '../ui/confirm'
import { SeverityMark, StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, Loaded, type Translate } from '../ui/states'
import { Ago, Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './incidents/incidents.module.css'
import { ownerName } from './incidents/owner'

export function SuppressionsPage() {
  const { t } = useTranslation()
  const list = useQuery(suppressions)
  const lists = useQuery(warningLists)
  return (
    <Page title={t('suppressions.title')} lead={t('suppressions.lead')} back={{ to: '/alerts', label: t('alerts.title') }}>
      <Panel title={t('suppressions.list')} flush>
        <Loaded query={list}>
          {({ items }) => (items.length === 0 ? <Empty title={t('suppressions.none')}>{t('suppressions.noneText')}</Empty> : <List items={items} />)}
        </Loaded>
      </Panel>
      <Panel title={t('suppressions.lists')} hint={t('suppressions.listsHint')} flush>
        <Loaded query={lists}>
          {({ items }) => (items.length === 0 ? <Empty title={t('suppressions.noLists')}>{t('suppressions.noListsText')}</Empty> : (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('suppressions.lists')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('suppressions.listName')}</th>
                  <th scope="col" className={ui.medium}>{t('suppressions.listType')}</th>
                  <th scope="col" className={ui.right}>{t('suppressions.listEntries')}</th>
                  <th scope="col">{t('suppressions.state')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((l) => (
                  <tr key={l.name}>
                    <td className="break">{l.name}{l.description && <div className={ui.sub}>{l.description}</div>}</td>
                    <td className={ui.medium}>{l.type || '–'}</td>
                    <td className={`${ui.right} num`}>{l.refused ? '–' : count(l.entries)}</td>
                    <td className="break">{l.refused ? <><StateMark tone="bad">{t('state.refused')}</StateMark><div className={ui.sub}>{l.refused}</div></> : <StateMark tone="good">{t('suppressions.listUsed')}</StateMark>}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          ))}
        </Loaded>
      </Panel>
    </Page>
  )
}

/** What it is about, in words. */
function scopeWords(s: Suppression, t: Translate): string {
  const what = s.rule && s.detector ? t('suppress.rule', { rule: s.rule, detector: s.detector }) : s.detector ? t('suppress.detector', { detector: s.detector }) : (s.rule ?? t('suppressions.any'))
  const sides = [s.source && t('suppressions.from', { of: s.source }), s.target && t('suppressions.to', { of: s.target }), s.entity && t('suppressions.either', { of: s.entity })]
  return [what, ...sides].filter(Boolean).join(' ')
}

function List({ items }: { items: Suppression[] }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [revoking, setRevoking] = useState<Suppression | null>(null)
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('suppressions.list')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('suppressions.scope')}</th>
            <th scope="col" className={ui.wide}>{t('suppressions.reason')}</th>
            <th scope="col" className={ui.right}>{t('suppressions.hits')}</th>
            <th scope="col" className={ui.medium}>{t('suppressions.expires')}</th>
            <th scope="col">{t('suppressions.state')}</th>
            {can('audit') && <th scope="col"><span className="visually-hidden">{t('suppressions.revoke')}</span></th>}
          </tr>
        </thead>
        <tbody>
          {items.map((s) => (
            <tr key={s.id} data-suppression={s.id}>
              <td className="break">
                {scopeWords(s, t)}
                <div className={ui.sub}>{ownerName(s.by)}, <Ago at={s.created} /><span className={css.onPhone}>: {s.reason}</span></div>
                {s.hits > 0 && <Found id={s.id} />}
              </td>
              <td className={`${ui.wide} break`}>{s.reason}</td>
              <td className={`${ui.right} num`}>{count(s.hits)}</td>
              <td className={ui.medium}><Time at={s.expires} /></td>
              <td>{s.active ? <StateMark tone="busy">{t('suppressions.active')}</StateMark> : <StateMark tone="off">{t('suppressions.expired')}</StateMark>}</td>
              {can('audit') && <td><Button size="compact-xs" variant="default" aria-label={t('suppressions.revokeOne', { what: scopeWords(s, t) })} onClick={() => setRevoking(s)}>{t('suppressions.revoke')}</Button></td>}
            </tr>
          ))}
        </tbody>
      </table>
      <Confirm opened={revoking !== null} onClose={() => setRevoking(null)} title={t('suppressions.revokeTitle')} confirm={t('suppressions.revoke')} danger
        act={async () => {
          await suppress.revoke(revoking!.id)
          tell.done(t('suppressions.revoked'))
          await client.invalidateQueries({ queryKey: ['suppressions'] })
        }}>
        <p>{revoking && scopeWords(revoking, t)}</p>
        <p className="dim">{t('suppressions.revokeText')}</p>
      </Confirm>
    </>
  )
}

/** The findings that it kept back, once somebody wants to see them. */
function Found({ id }: { id: string }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const { data } = useQuery({ ...suppressed(id), enabled: open })
  return (
    <details className={css.found} onToggle={(e) => setOpen(e.currentTarget.open)}>
      <summary>{t('suppressions.look')}</summary>
      <ul className={css.entries}>
        {data?.items.map((f) => (
          <li key={f.finding.id}>
            <span className="break"><SeverityMark severity={f.finding.severity} label={false} /> {f.finding.summary}</span>
            <span className={ui.sub}><Time at={f.finding.start} /> – <Time at={f.finding.end} /></span>
          </li>
        ))}
      </ul>
    </details>
  )
}
