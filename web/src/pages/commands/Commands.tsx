import { Button, Modal, NativeSelect, Textarea, TextInput } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import '../../locales/commands'
import { act, commandTypes, orders, type Order } from '../../api/orders'
import { useMay } from '../../api/useMay'
import { count } from '../../lib/format'
import { progressOf, readArgs } from '../../lib/orders'
import { Confirm } from '../../ui/confirm'
import { State, StateMark, toneOf } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { ownerName } from '../incidents/owner'

export function CommandsPage() {
  const { t } = useTranslation()
  const can = useMay()
  const query = useQuery(orders)
  const [asking, setAsking] = useState(false)
  return (
    <Page title={t('commands.title')} lead={t('commands.lead')}
      actions={can('commands:write') && <Button onClick={() => setAsking(true)}>{t('commands.new')}</Button>}>
      <Loaded query={query}>
        {({ items }) => {
          const waiting = items.filter((o) => o.state === 'waiting')
          const rest = items.filter((o) => o.state !== 'waiting')
          return (
            <div className={ui.stack}>
              {waiting.length > 0 && <Panel title={t('commands.waiting')} flush><Orders list={waiting} /></Panel>}
              <Panel title={t('commands.recent')} flush>
                {rest.length === 0 ? <Empty title={t('commands.none')}>{t('commands.noneText')}</Empty> : <Orders list={rest} />}
              </Panel>
            </div>
          )
        }}
      </Loaded>
      <NewCommand opened={asking} onClose={() => setAsking(false)} />
    </Page>
  )
}

function Orders({ list }: { list: Order[] }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('commands.title')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('commands.type')}</th>
          <th scope="col">{t('commands.progress')}</th>
          <th scope="col" className={ui.medium}>{t('commands.by')}</th>
          <th scope="col" className={ui.medium}>{t('commands.when')}</th>
        </tr>
      </thead>
      <tbody>
        {list.map((o) => (
          <tr key={o.id} className={ui.row}>
            <td>
              <Link to="/commands/$id" params={{ id: o.id }} className={ui.main}>{o.type}</Link>
              <div className={ui.sub}>{o.target === 'all' ? t('commands.all') : o.target}</div>
            </td>
            <td><Progress order={o} /></td>
            <td className={ui.medium}>{ownerName(o.created_by)}</td>
            <td className={ui.medium}><Ago at={o.created_at} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

/** How far an order is, and the decision that it waits for. */
export function Progress({ order: o }: { order: Order }) {
  const { t } = useTranslation()
  if (o.state === 'waiting') return <Decision order={o} />
  if (o.state !== 'given') return <StateMark tone={toneOf(o.state)}>{t(`commands.orderStates.${o.state}`)}</StateMark>
  return <>{progressOf(o.progress).map((p) => <div key={p.state}><StateMark tone={toneOf(p.state)}>{count(p.count)} {t(`commands.states.${p.state}`)}</StateMark></div>)}</>
}

function Decision({ order: o }: { order: Order }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const [asking, setAsking] = useState(false)
  const refresh = () => client.invalidateQueries({ queryKey: ['agents', 'orders'] })
  return (
    <div>
      <State of="queued" /> {o.expires && <span className={ui.sub}>{t('commands.until')} <Time at={o.expires} /></span>}
      {o.own && <div className={ui.sub}>{t('commands.own')}</div>}
      {!o.own && can('commands:approve') && (
        <div className={ui.actions}>
          <Button size="sm" onClick={() => setAsking(true)}>{t('commands.approve')}</Button>
          <Button size="sm" variant="default" onClick={() => void act.deny(o.id).then(refresh, tell.failed)}>{t('commands.deny')}</Button>
        </div>
      )}
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('commands.approveTitle', { type: o.type, target: o.target })} confirm={t('commands.approve')}
        act={() => act.approve(o.id).then(refresh)}>
        <p>{t('commands.approveText', { by: ownerName(o.created_by), count: o.machines })}</p>
        {o.args !== undefined && <pre className="mono">{JSON.stringify(o.args, null, 2)}</pre>}
      </Confirm>
    </div>
  )
}

function NewCommand({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  const { data } = useQuery(commandTypes)
  const client = useQueryClient()
  const tell = useTell()
  const [type, setType] = useState('ping')
  const [group, setGroup] = useState('all')
  const [args, setArgs] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const kind = data?.types.find((k) => k.name === type)
  const read = readArgs(args)
  const send = (e: FormEvent) => {
    e.preventDefault()
    if (read === null) return
    setBusy(true)
    setError(null)
    act.send({ type, group, args: read })
      .then((o) => {
        tell.done(t(o.state === 'waiting' ? 'commands.sentWaiting' : 'commands.sent'))
        onClose()
        return client.invalidateQueries({ queryKey: ['agents', 'orders'] })
      }, setError)
      .finally(() => setBusy(false))
  }
  const fields = Object.keys((kind?.args_schema as { properties?: object } | undefined)?.properties ?? {})
  return (
    <Modal opened={opened} onClose={onClose} title={t('commands.new')} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={send} className={ui.stack}>
        <NativeSelect label={t('commands.type')} value={type} onChange={(e) => setType(e.currentTarget.value)}
          data={(data?.types ?? []).map((k) => ({ value: k.name, label: k.name }))}
          description={kind && <>{kind.summary}. {t(`commands.danger.${kind.danger}`, { above: data?.approve_above })}</>} />
        <TextInput label={t('commands.group')} description={t('commands.groupHint')} value={group} required withAsterisk={false} onChange={(e) => setGroup(e.currentTarget.value)} />
        {fields.length > 0 && (
          <Textarea label={t('commands.args')} description={t('commands.argsHint', { schema: fields.join(', ') })} value={args} autosize minRows={2}
            error={read === null && t('commands.argsWrong')} onChange={(e) => setArgs(e.currentTarget.value)} />
        )}
        {error !== null && <Problem error={error} />}
        <Button type="submit" loading={busy} disabled={read === null}>{t('commands.send')}</Button>
      </form>
    </Modal>
  )
}
