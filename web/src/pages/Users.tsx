// Who may sign in, what they may do, and what is asked of them.
import '../locales/identity'
import { Button, Checkbox, Group, Modal, NativeSelect, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { people, policy, roleTable, sessions, users, userSessions, type Policy, type RoleTable, type User } from '../api/identity'
import { me } from '../api/queries'
import type { Role } from '../api/types'
import { isOperator } from '../lib/roles'
import { Confirm } from '../ui/confirm'
import { Copy } from '../ui/Copy'
import { CheckIcon, PlusIcon } from '../ui/icons'
import { StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Loaded, Problem } from '../ui/states'
import { Ago } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './identity/identity.module.css'
import { Sessions } from './identity/Sessions'

const all: readonly Role[] = ['PUB', 'IT', 'SUP', 'ADM', 'AUTHOR', 'RESEARCHER', 'APPROVER']

export function UsersPage() {
  const { t } = useTranslation()
  const list = useQuery(users)
  const operator = isOperator(useQuery(me).data)
  const rules = useQuery({ ...policy, enabled: operator })
  const roles = useQuery(roleTable)
  const [inviting, setInviting] = useState(false)
  const [opened, setOpened] = useState<string | null>(null)
  const user = list.data?.items.find((u) => u.id === opened)
  return (
    <Page title={t('users.title')} lead={t('users.lead')} actions={<Button leftSection={<PlusIcon />} onClick={() => setInviting(true)}>{t('users.invite')}</Button>}>
      <Modal opened={inviting} onClose={() => setInviting(false)} title={t('users.invite')} closeButtonProps={{ 'aria-label': t('close') }}>
        {inviting && <Invite onClose={() => setInviting(false)} />}
      </Modal>
      <Modal opened={user !== undefined} onClose={() => setOpened(null)} size="lg" title={user?.username ?? ''} closeButtonProps={{ 'aria-label': t('close') }}>
        {user && <Person user={user} onGone={() => setOpened(null)} />}
      </Modal>
      <Panel title={t('users.list')} flush>
        <Loaded query={list}>{({ items }) => <Table items={items} onOpen={setOpened} />}</Loaded>
      </Panel>
      {operator && (
        <Panel title={t('users.policy')}>
          <Loaded query={rules}>{(p) => <PolicyForm key={JSON.stringify(p)} is={p} />}</Loaded>
        </Panel>
      )}
      <Panel title={t('users.rolesTitle')} flush>
        <Loaded query={roles}>{(r) => <Matrix table={r} />}</Loaded>
      </Panel>
    </Page>
  )
}

function Table({ items, onOpen }: { items: User[]; onOpen: (id: string) => void }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('users.list')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('users.name')}</th>
          <th scope="col">{t('users.role')}</th>
          <th scope="col">{t('users.state')}</th>
          <th scope="col" className={ui.medium}>{t('users.factors')}</th>
          <th scope="col" className={ui.medium}>{t('users.signedIn')}</th>
          <th scope="col"><span className="visually-hidden">{t('users.change')}</span></th>
        </tr>
      </thead>
      <tbody>
        {items.map((u) => (
          <tr key={u.id}>
            <td className="break"><strong>{u.username}</strong>{u.self && <span className="dim"> ({t('users.you')})</span>}</td>
            <td>{u.role}</td>
            <td>{u.disabled ? <StateMark tone="bad">{t('users.disabled')}</StateMark> : u.signed_in ? <StateMark tone="good">{t('users.active')}</StateMark> : <StateMark tone="warn">{t('users.invited')}</StateMark>}</td>
            <td className={ui.medium}>{u.factors.map((k) => t(`factors.kinds.${k as 'totp'}`)).join(', ') || t('users.noFactor')}</td>
            <td className={ui.medium}>{u.signed_in ? <Ago at={u.signed_in} /> : t('users.never')}</td>
            <td className={ui.right}><Button size="compact-xs" variant="default" onClick={() => onOpen(u.id)} aria-label={t('users.open', { name: u.username })}>{t('users.change')}</Button></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function RoleSelect({ value, onChange }: { value: Role; onChange: (role: Role) => void }) {
  const { t } = useTranslation()
  return (
    <NativeSelect label={t('users.role')} value={value} onChange={(e) => onChange(e.currentTarget.value as Role)}
      data={all.map((r) => ({ value: r, label: `${r} – ${t(`roles.${r}`)}` }))} />
  )
}

function Link({ name, link, until, onClose }: { name: string; link: string; until: string; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <div className={ui.form}>
      <p>{t('users.once', { name, until: new Date(until).toLocaleString() })}</p>
      <Copy text={link} label={t('users.link')} />
      <div><Button onClick={onClose}>{t('done')}</Button></div>
    </div>
  )
}

function Invite({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('SUP')
  const make = useMutation({ mutationFn: () => people.invite(name.trim(), role), onSuccess: () => client.invalidateQueries({ queryKey: ['users'] }) })
  if (make.data) return <Link name={name} link={make.data.link} until={make.data.expires} onClose={onClose} />
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <p className="dim">{t('users.inviteText')}</p>
      <TextInput label={t('users.name')} required autoCapitalize="none" spellCheck={false} value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      <RoleSelect value={role} onChange={setRole} />
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" loading={make.isPending} disabled={name.trim() === ''}>{t('users.make')}</Button></div>
    </form>
  )
}

type Deed = 'disable' | 'reset' | 'delete'

function Person({ user, onGone }: { user: User; onGone: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [asking, setAsking] = useState<Deed | null>(null)
  const open = useQuery(userSessions(user.id))
  const refresh = () => Promise.all([client.invalidateQueries({ queryKey: ['users'] }), client.invalidateQueries({ queryKey: ['sessions'] })])
  const act = useMutation({ mutationFn: (deed: () => Promise<unknown>) => deed(), onSuccess: refresh })
  const link = useMutation({ mutationFn: () => people.link(user.id) })
  const name = user.username
  const deeds = {
    disable: { title: t('users.disableOne', { name }), text: t('users.disableText'), confirm: t('users.disable'), do: () => people.disable(user.id) },
    reset: { title: t('users.resetOne', { name }), text: t('users.resetText'), confirm: t('users.reset'), do: () => people.resetFactors(user.id) },
    delete: { title: t('users.deleteOne', { name }), text: t('users.deleteText'), confirm: t('users.delete'), do: () => people.remove(user.id).then(onGone) },
  }
  const asked = asking && deeds[asking]
  if (link.data) return <Link name={name} link={link.data.link} until={link.data.expires} onClose={() => link.reset()} />
  return (
    <div className={ui.form}>
      <RoleSelect value={user.role} onChange={(role) => act.mutate(() => people.role(user.id, role))} />
      <div className={css.deeds}>
        {!user.disabled && <Button variant="default" loading={link.isPending} onClick={() => link.mutate()} title={t('users.newLinkText')}>{t('users.newLink')}</Button>}
        {user.factors.length > 0 && <Button variant="default" onClick={() => setAsking('reset')}>{t('users.reset')}</Button>}
        {user.disabled ? <Button variant="default" onClick={() => act.mutate(() => people.enable(user.id))}>{t('users.enable')}</Button>
          : <Button variant="default" onClick={() => setAsking('disable')}>{t('users.disable')}</Button>}
        <Button variant="default" onClick={() => setAsking('delete')}>{t('users.delete')}</Button>
      </div>
      {act.isError && <Problem error={act.error} />}
      {link.isError && <Problem error={link.error} />}
      <section>
        <Group justify="space-between" mb="xs">
          <h3>{t('sessions.of', { name })}</h3>
          <Button size="xs" variant="default" onClick={() => act.mutate(() => sessions.endAllOf(user.id).then(({ ended }) => tell.done(t('sessions.ended', { count: ended }))))}>{t('sessions.endAll')}</Button>
        </Group>
        <Loaded query={open}>{({ items }) => <Sessions items={items} end={(s) => sessions.endOf(user.id, s.id).then(refresh)} />}</Loaded>
      </section>
      <Confirm opened={asked !== null} onClose={() => setAsking(null)} title={asked?.title ?? ''} confirm={asked?.confirm ?? ''} danger act={async () => { await asked?.do(); await refresh() }}>
        {asked?.text}
      </Confirm>
    </div>
  )
}

function PolicyForm({ is }: { is: Policy }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [roles, setRoles] = useState<string[]>(is.second_factor)
  const [minutes, setMinutes] = useState(String(is.fresh_minutes))
  const save = useMutation({
    mutationFn: () => people.policy({ second_factor: roles, fresh_minutes: Number(minutes) }),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['identity-policy'] })
      tell.done(t('users.policySaved'))
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    save.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <Checkbox.Group label={t('users.policyText')} value={roles} onChange={setRoles}>
        <Group gap="md" mt="xs">{all.map((r) => <Checkbox key={r} value={r} label={r} />)}</Group>
      </Checkbox.Group>
      <TextInput type="number" className={ui.narrow} label={t('users.fresh')} description={t('users.freshText')} min={1} max={1440} required withAsterisk={false} value={minutes} onChange={(e) => setMinutes(e.currentTarget.value)} />
      {save.isError && <Problem error={save.error} />}
      <div><Button type="submit" loading={save.isPending}>{t('factors.save')}</Button></div>
    </form>
  )
}

function Matrix({ table }: { table: RoleTable }) {
  const { t } = useTranslation()
  return (
    <div className={css.wide} tabIndex={0} role="region" aria-label={t('users.matrix')}>
      <table className={`${ui.table} ${css.matrix}`}>
        <caption className="visually-hidden">{t('users.rolesTitle')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('users.permission')}</th>
            {table.roles.map((r) => <th key={r} scope="col">{r}</th>)}
          </tr>
        </thead>
        <tbody>
          {table.permissions.map((p) => (
            <tr key={p.permission}>
              <td><code>{p.permission}</code><div className={ui.sub}>{p.lets}</div></td>
              {table.roles.map((r) => (
                <td key={r}>{p.roles.includes(r) ? <><CheckIcon /><span className="visually-hidden">{t('users.yes')}</span></> : <span className="visually-hidden">{t('users.no')}</span>}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
