import '../../locales/identity'
import { Button } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Session } from '../../api/identity'
import { deviceName } from '../../lib/device'
import { Confirm } from '../../ui/confirm'
import { Empty } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'

/** Where somebody is signed in, each with a way to end it. */
export function Sessions({ items, end }: { items: Session[]; end: (s: Session) => Promise<unknown> }) {
  const { t } = useTranslation()
  const [ending, setEnding] = useState<Session | null>(null)
  const device = (s: Session) => deviceName(s.user_agent) || t('sessions.unknown')
  const name = (s: Session) => t('sessions.endOne', { device: device(s), address: s.address })
  if (items.length === 0) return <Empty title={t('sessions.none')} />
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('sessions.title')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('sessions.device')}</th>
            <th scope="col" className={ui.medium}>{t('sessions.how')}</th>
            <th scope="col" className={ui.medium}>{t('sessions.since')}</th>
            <th scope="col">{t('sessions.seen')}</th>
            <th scope="col"><span className="visually-hidden">{t('sessions.end')}</span></th>
          </tr>
        </thead>
        <tbody>
          {items.map((s) => (
            <tr key={s.id}>
              <td className="break"><strong>{device(s)}</strong><div className={`${ui.sub} mono`}>{s.address}</div></td>
              <td className={ui.medium}>{t(`sessions.methods.${s.method as 'password'}`, { defaultValue: s.method })}</td>
              <td className={ui.medium}><Time at={s.created} /></td>
              <td><Ago at={s.last_seen} /></td>
              <td className={ui.right}>
                {s.current ? <span className="dim">{t('sessions.current')}</span>
                  : <Button size="compact-xs" variant="default" onClick={() => setEnding(s)} aria-label={name(s)}>{t('sessions.end')}</Button>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Confirm opened={ending !== null} onClose={() => setEnding(null)} title={ending ? name(ending) : ''} confirm={t('sessions.end')} danger act={() => (ending ? end(ending) : Promise.resolve())}>
        {t('sessions.endText')}
      </Confirm>
    </>
  )
}
