// The tokens that let machines in: making one with its limits, what was let in by which, revoking.
import '../../locales/groups'
import '../../locales/machines'
import { Autocomplete, Button, Group, Modal, NativeSelect, NumberInput, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { enrolmentActions, enrolments, enrolmentUses, groups, type Enrolment, type MadeToken } from '../../api/groups'
import { useMay } from '../../api/useMay'
import { readLabels } from '../../lib/machineFilter'
import { Confirm } from '../../ui/confirm'
import { Copy } from '../../ui/Copy'
import { PlusIcon } from '../../ui/icons'
import { StateMark, type Tone } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { MachineLine } from '../machines/MachineLine'
import css from './groups.module.css'

const times = ['1h', '24h', '168h', '720h', '8760h'] as const
const tones: Record<Enrolment['state'], Tone> = { open: 'good', used: 'off', expired: 'off', revoked: 'bad' }

export function EnrolmentPage() {
  const { t } = useTranslation()
  const can = useMay()
  const query = useQuery(enrolments)
  const [making, setMaking] = useState(false)
  const make = can('operate') && <Button leftSection={<PlusIcon />} onClick={() => setMaking(true)}>{t('enrolment.make')}</Button>
  return (
    <Page title={t('enrolment.title')} lead={t('enrolment.lead')} back={{ to: '/machines', label: t('machines.title') }} actions={make}>
      {making && <MakeDialog onClose={() => setMaking(false)} />}
      <Panel title={t('enrolment.list')} flush>
        <Loaded query={query}>{({ items }) => (items.length === 0 ? <Empty title={t('enrolment.none')} action={make}>{t('enrolment.noneText')}</Empty> : <List items={items} />)}</Loaded>
      </Panel>
    </Page>
  )
}

function List({ items }: { items: Enrolment[] }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [revoking, setRevoking] = useState<Enrolment | null>(null)
  const nameOf = (e: Enrolment) => e.name || t('enrolment.unnamed')
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('enrolment.list')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('enrolment.name')}</th>
            <th scope="col">{t('enrolment.state')}</th>
            <th scope="col">{t('enrolment.used')}</th>
            <th scope="col" className={ui.medium}>{t('enrolment.until')}</th>
            <th scope="col"><span className="visually-hidden">{t('enrolment.revoke')}</span></th>
          </tr>
        </thead>
        <tbody>
          {items.map((e) => (
            <tr key={e.id}>
              <td>
                <strong className="break">{nameOf(e)}</strong>
                <div className={ui.sub}>{e.by} · <Ago at={e.created} />{e.group !== 'all' && <> · <Link to="/groups/$name" params={{ name: e.group }}>{e.group}</Link></>}{Object.entries(e.labels).map(([k, v]) => ` · ${k}=${v}`)}</div>
                {e.uses > 0 && <Uses token={e} name={nameOf(e)} />}
              </td>
              <td><StateMark tone={tones[e.state]}>{t(`enrolment.states.${e.state}`)}</StateMark>{e.revoked_by && <div className={ui.sub}>{t('enrolment.revokedBy', { who: e.revoked_by })}</div>}</td>
              <td className="num">{t('enrolment.usedOf', { uses: e.uses, most: e.max_uses })}</td>
              <td className={ui.medium}><Time at={e.expires} /></td>
              <td className={ui.right}>{e.state === 'open' && <Button size="compact-xs" variant="default" onClick={() => setRevoking(e)} aria-label={t('enrolment.revokeOf', { name: nameOf(e) })}>{t('enrolment.revoke')}</Button>}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <Confirm opened={revoking !== null} onClose={() => setRevoking(null)} danger title={t('enrolment.revokeTitle', { name: revoking ? nameOf(revoking) : '' })} confirm={t('enrolment.revoke')}
        act={async () => {
          await enrolmentActions.revoke(revoking!.id)
          tell.done(t('enrolment.revoked'))
          await client.invalidateQueries({ queryKey: enrolments.queryKey })
        }}>
        {t('enrolment.revokeText')}
      </Confirm>
    </>
  )
}

function Uses({ token: e, name }: { token: Enrolment; name: string }) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const query = useQuery({ ...enrolmentUses(e.id), enabled: open })
  return (
    <>
      <button type="button" className={css.unfold} aria-expanded={open} aria-label={t('enrolment.showOf', { name })} onClick={() => setOpen(!open)}>{t('enrolment.show')}</button>
      {open && (
        <Loaded query={query} rows={2}>
          {({ items }) => (
            <ul className={css.uses} aria-label={t('enrolment.machines')}>
              {items.map((m) => <li key={m.id}><Link to="/machines/$id" params={{ id: m.id }}>{m.name}</Link> <span className="dim"><span className="mono">{m.address}</span> · <Ago at={m.time} /></span></li>)}
            </ul>
          )}
        </Loaded>
      )}
    </>
  )
}

function MakeDialog({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation()
  const [made, setMade] = useState<MadeToken & { uses: number }>()
  return (
    <Modal opened onClose={onClose} size="lg" title={made ? t('enrolment.made') : t('enrolment.make')} closeButtonProps={{ 'aria-label': t('close') }} closeOnClickOutside={!made}>
      {made ? <Made made={made} onClose={onClose} /> : <Form onMade={setMade} onClose={onClose} />}
    </Modal>
  )
}

function Form({ onMade, onClose }: { onMade: (made: MadeToken & { uses: number }) => void; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const known = useQuery(groups).data?.items.map((g) => g.name) ?? []
  const [name, setName] = useState('')
  const [uses, setUses] = useState<number | string>(1)
  const [expires, setExpires] = useState<string>(times[0])
  const [group, setGroup] = useState('')
  const [typed, setTyped] = useState('')
  const labels = readLabels(typed)
  const make = useMutation({
    mutationFn: () => enrolmentActions.make({ name: name.trim() || undefined, max_uses: Number(uses) || 1, expires_in: expires, group: group.trim() || undefined, labels: labels ?? undefined }),
    onSuccess: (token) => {
      onMade({ ...token, uses: Number(uses) || 1 })
      void client.invalidateQueries({ queryKey: enrolments.queryKey })
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    if (typed.trim() === '' || labels) make.mutate()
  }
  return (
    <form onSubmit={send} className={ui.form}>
      <TextInput label={t('enrolment.name')} value={name} maxLength={100} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      <div className={ui.fields}>
        <NumberInput label={t('enrolment.uses')} min={1} max={10000} allowDecimal={false} value={uses} onChange={setUses} />
        <NativeSelect label={t('enrolment.expires')} value={expires} onChange={(e) => setExpires(e.currentTarget.value)} data={times.map((v) => ({ value: v, label: t(`enrolment.hours.${v}`) }))} />
      </div>
      <div className={ui.fields}>
        <Autocomplete label={t('enrolment.group')} description={t('enrolment.groupHint')} value={group} data={known} maxLength={40} onChange={setGroup} spellCheck={false} />
        <TextInput label={t('enrolment.labels')} description={t('enrolment.labelsHint')} value={typed} onChange={(e) => setTyped(e.currentTarget.value)} spellCheck={false}
          error={typed.trim() !== '' && !labels ? t('enrolment.badLabels') : undefined} />
      </div>
      {make.isError && <Problem error={make.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={make.isPending}>{t('enrolment.make')}</Button>
      </Group>
    </form>
  )
}

function Made({ made, onClose }: { made: MadeToken & { uses: number }; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <div className={ui.form}>
      <p><strong>{t('enrolment.madeText', { count: made.uses })}</strong> {t('enrolment.until')} <Time at={made.expires} />.</p>
      <Copy text={made.token} label={t('enrolment.text')} line />
      <MachineLine token={made.token} bare={made.command} />
      <Group justify="flex-end"><Button onClick={onClose}>{t('done')}</Button></Group>
    </div>
  )
}
