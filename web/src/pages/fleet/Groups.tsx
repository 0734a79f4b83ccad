// Which machines belong together. A rollout or an update policy can be for a group.
import { Autocomplete, Button } from '@mantine/core'
import { useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { fleetActions, type Fleet, type FleetNode } from '../../api/market'
import { useMay } from '../../api/useMay'
import '../../locales/market'
import { Panel } from '../../ui/Page'
import { Empty } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './fleet.module.css'

const shownAtFirst = 10

export function Groups({ fleet: f }: { fleet: Fleet }) {
  const { t } = useTranslation()
  const can = useMay()
  const [all, setAll] = useState(false)
  const machines = f.nodes.filter((n) => n.type === 'agent')
  const shown = all ? machines : machines.slice(0, shownAtFirst)
  return (
    <Panel title={t('groups.title')} hint={t('groups.hint')} actions={<Link to="/groups">{t('groups.tree')}</Link>} flush>
      {machines.length === 0 ? <Empty title={t('groups.none')} action={<Link to="/machines" search={{ add: true }}>{t('machines.add')}</Link>} /> : (
        <table className={`${ui.table} ${css.groups}`}>
          <caption className="visually-hidden">{t('groups.title')}</caption>
          <thead><tr><th scope="col">{t('machines.name')}</th><th scope="col">{t('groups.group')}</th><th scope="col" className={ui.medium}>{t('machines.system')}</th><th scope="col" className={ui.medium}>{t('groups.fresh')}</th></tr></thead>
          <tbody>
            {shown.map((n) => (
              <tr key={n.id}>
                <td><Link to="/machines/$id" params={{ id: n.id }} className={ui.main}>{n.name || n.id}</Link></td>
                <td>{can('operate') ? <GroupField key={n.group} node={n} groups={f.groups} /> : (n.group ?? 'all')}</td>
                <td className={`${ui.medium} dim`}>{n.os}/{n.arch}</td>
                <td className={ui.medium}><Ago at={n.refreshed} /></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {machines.length > shown.length && <div className={ui.more}><Button size="xs" variant="default" onClick={() => setAll(true)}>{t('groups.all', { count: machines.length })}</Button></div>}
    </Panel>
  )
}

const allowed = /^[a-z0-9][a-z0-9-]{0,39}$/

/** The group of a machine: one there is, or a new name. */
function GroupField({ node: n, groups }: { node: FleetNode; groups: string[] }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [text, setText] = useState(n.group ?? 'all')
  const [busy, setBusy] = useState(false)
  const wrong = text !== '' && !allowed.test(text)
  const sent = useRef(n.group ?? 'all') // Enter saves, and so does leaving the field after it
  const save = async (group: string) => {
    if (group === sent.current || !allowed.test(group)) return
    sent.current = group
    setBusy(true)
    try {
      await fleetActions.group(n.id, group)
      tell.done(t('groups.moved', { name: n.name || n.id, group }))
      await client.invalidateQueries({ queryKey: ['fleet'] })
    } catch (error) {
      tell.failed(error)
      sent.current = n.group ?? 'all'
      setText(sent.current)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Autocomplete size="xs" className={css.groupField} aria-label={t('groups.of', { name: n.name || n.id })} value={text} data={[...new Set(['all', ...groups])]} maxLength={40} disabled={busy} spellCheck={false}
      error={wrong ? t('groups.wrong') : undefined} onChange={setText} onOptionSubmit={(g) => void save(g)} onBlur={() => (text === '' ? setText(n.group ?? 'all') : void save(text))}
      onKeyDown={(e) => e.key === 'Enter' && void save(text)} />
  )
}
