// Adding a machine: one line for its shell, what the line does, and whether it worked.
import { Button, Modal, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { agents as act } from '../../api/actions'
import { addingProgress, type AddingProgress } from '../../api/machines'
import { agent } from '../../api/queries'
import { State, StateMark } from '../../ui/marks'
import { Loading, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import { MachineLine } from './MachineLine'
import css from './machines.module.css'

export default function AddMachine({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation()
  const [round, setRound] = useState(0)
  return (
    <Modal opened onClose={onClose} size="xl" title={t('machines.add')} closeButtonProps={{ 'aria-label': t('close') }}>
      <Adding key={round} onClose={onClose} another={() => setRound(round + 1)} />
    </Modal>
  )
}

function Adding({ onClose, another }: { onClose: () => void; another: () => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState('')
  const make = useMutation({ mutationFn: act.token })
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate(name.trim())
  }
  return (
    <div className={ui.form}>
      <MachineLine token={make.data?.token} bare={make.data?.command}>
        {!make.data && (
          <form className={ui.form} onSubmit={send}>
            <p className="dim">{t('adding.text')}</p>
            <TextInput label={t('machines.nameOptional')} value={name} maxLength={100} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
            {make.isError && <Problem error={make.error} />}
            <div><Button type="submit" loading={make.isPending}>{t('machines.make')}</Button></div>
          </form>
        )}
      </MachineLine>
      {make.data && <Progress token={make.data.id} onClose={onClose} another={another} />}
    </div>
  )
}

function Progress({ token, onClose, another }: { token: string; onClose: () => void; another: () => void }) {
  const { t } = useTranslation()
  const query = useQuery(addingProgress(token))
  const p = query.data
  if (!p) return query.isError ? <Problem error={query.error} retry={() => void query.refetch()} /> : <Loading rows={1} />
  const machine = p.machines[0]
  return (
    <section className={css.progress} data-state={p.state} aria-label={t('adding.waiting')}>
      <div role="status"><Headline p={p} /></div>
      {p.state === 'waiting' && <p className="dim">{t('adding.waitingText')} {t('adding.limits', { count: p.max_uses })} {t('machines.until')} <Time at={p.expires} />.</p>}
      {p.state === 'ended' && <p className="dim">{t('adding.endedText')}</p>}
      {p.state === 'enrolled' && machine && <WhyQuiet id={machine.id} />}
      {p.seen.length > 0 && <Seen p={p} />}
      <div className={ui.actions}>
        {machine && <Button component={Link} to={`/machines/${machine.id}`} onClick={onClose}>{t('adding.open', { name: machine.name })}</Button>}
        {(p.state === 'measuring' || p.state === 'ended') && <Button variant="default" onClick={another}>{t('adding.another')}</Button>}
        <Button variant="default" onClick={onClose}>{t('done')}</Button>
      </div>
    </section>
  )
}

function Headline({ p }: { p: AddingProgress }) {
  const { t } = useTranslation()
  const machine = p.machines[0]
  if (p.state === 'measuring' && machine) return <StateMark tone="good">{t('adding.measuring', { name: machine.name, count: machine.series })}</StateMark>
  if (p.state === 'enrolled' && machine) return <StateMark tone="busy">{t('adding.enrolled', { name: machine.name })}</StateMark>
  return p.state === 'ended' ? <StateMark tone="bad">{t('adding.ended')}</StateMark> : <StateMark tone="busy">{t('adding.waiting')}</StateMark>
}

/** A machine that is let in and measures nothing: what runs on it, or that nothing does. */
function WhyQuiet({ id }: { id: string }) {
  const { t } = useTranslation()
  const { data } = useQuery({ ...agent(id), refetchInterval: 3000 })
  if (!data) return null
  if (data.plugins.length === 0) return <p>{t('adding.noCollector')} <Link to="/plugins" search={{ kind: 'collector' }}>{t('adding.enableCollector')}</Link></p>
  return (
    <ul className={css.seen}>
      {data.plugins.map((i) => <li key={i.instance}>{i.plugin} <State of={i.state} />{i.reason && i.state !== 'ready' && <div className="dim break">{i.reason}</div>}</li>)}
    </ul>
  )
}

/** What may be in its way. One of each sort is enough. */
function Seen({ p }: { p: AddingProgress }) {
  const { t } = useTranslation()
  const first = p.seen.filter((s, i) => p.seen.findIndex((o) => o.what === s.what) === i)
  return (
    <div>
      <h3>{t('adding.seen')}</h3>
      <ul className={css.seen}>
        {first.map((s) => <li key={s.what}>{t(`adding.what.${s.what}`)} <span className="dim"><span className="mono">{s.address}</span> · <Ago at={s.time} />{s.detail && <> · <span className="break">{s.detail}</span></>}</span></li>)}
      </ul>
    </div>
  )
}
