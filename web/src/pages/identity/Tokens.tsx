// A list of API tokens with what can be done to them: the server's, or one's own.
import '../../locales/identity'
import { Button, Checkbox, Group, Modal, NativeSelect, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { allTokens, ownTokens, roleTable, tokenDeeds } from '../../api/identity'
import { me } from '../../api/queries'
import type { Role, Token } from '../../api/types'
import { Confirm } from '../../ui/confirm'
import { Copy } from '../../ui/Copy'
import { PlusIcon } from '../../ui/icons'
import { Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from './identity.module.css'

const lives = ['30', '90', '365', ''] as const

export function Tokens({ whose }: { whose: 'all' | 'own' }) {
  const { t } = useTranslation()
  const query = useQuery(whose === 'all' ? allTokens : ownTokens)
  const [adding, setAdding] = useState(false)
  const button = <Button size={whose === 'own' ? 'xs' : undefined} variant={whose === 'own' ? 'default' : undefined} leftSection={<PlusIcon />} onClick={() => setAdding(true)}>{t('tokens.add')}</Button>
  return (
    <Panel title={t(whose === 'own' ? 'ownTokens.title' : 'tokens.list')} hint={whose === 'own' ? t('ownTokens.hint') : undefined} actions={button} flush>
      <Modal opened={adding} onClose={() => setAdding(false)} title={t('tokens.add')} closeButtonProps={{ 'aria-label': t('close') }}>
        {adding && <NewToken whose={whose} onClose={() => setAdding(false)} />}
      </Modal>
      <Loaded query={query}>
        {({ items }) => (items.length === 0 ? <Empty title={t('tokens.none')}>{t('tokens.noneText')}</Empty> : <Table items={items} whose={whose} />)}
      </Loaded>
    </Panel>
  )
}

function Secret({ token, onClose }: { token: string; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <div className={ui.form}>
      <p>{t('tokens.once')}</p>
      <Copy text={token} label={t('tokens.secret')} />
      <div><Button onClick={onClose}>{t('done')}</Button></div>
    </div>
  )
}

function NewToken({ whose, onClose }: { whose: 'all' | 'own'; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const { data: who } = useQuery(me)
  const { data: table } = useQuery(roleTable)
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role | undefined>(undefined)
  const [some, setSome] = useState(false)
  const [scopes, setScopes] = useState<string[]>([])
  const [days, setDays] = useState<string>('90')
  const as = role ?? who?.role ?? 'PUB'
  const offered = (table?.permissions ?? []).filter((p) => p.scope && p.roles.includes(as) && who?.permissions.includes(p.permission))
  const make = useMutation({
    mutationFn: () => tokenDeeds[whose].create({ name: name.trim(), role: as, scopes: some ? scopes.filter((s) => offered.some((p) => p.permission === s)) : [], expires_in: days ? `${Number(days) * 24}h` : undefined }),
    onSuccess: () => client.invalidateQueries({ queryKey: ['tokens'] }),
  })
  if (make.data) return <Secret token={make.data.token} onClose={onClose} />
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <TextInput label={t('tokens.name')} description={t('tokens.nameText')} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {whose === 'all' && (
        <NativeSelect label={t('tokens.role')} value={as} onChange={(e) => setRole(e.currentTarget.value as Role)}
          data={(table?.roles ?? []).map((r) => ({ value: r, label: `${r} – ${t(`roles.${r as Role}`)}` }))} />
      )}
      <NativeSelect label={t('scopes.what')} value={some ? 'some' : 'all'} onChange={(e) => setSome(e.currentTarget.value === 'some')}
        data={[{ value: 'all', label: t('scopes.all') }, { value: 'some', label: t('scopes.some') }]} />
      {some && (
        <Checkbox.Group value={scopes} onChange={setScopes} aria-label={t('scopes.what')}>
          <div className={css.scopes}>
            {offered.map((p) => <Checkbox key={p.permission} value={p.permission} label={p.permission} description={p.lets} />)}
          </div>
        </Checkbox.Group>
      )}
      <NativeSelect label={t('scopes.expires')} value={days} onChange={(e) => setDays(e.currentTarget.value)}
        data={lives.map((d) => ({ value: d, label: d ? t('scopes.days', { count: Number(d) }) : t('scopes.never') }))} />
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" loading={make.isPending} disabled={name.trim() === '' || (some && scopes.length === 0)}>{t('tokens.make')}</Button></div>
    </form>
  )
}

function Table({ items, whose }: { items: Token[]; whose: 'all' | 'own' }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [ending, setEnding] = useState<Token | null>(null)
  const [rotating, setRotating] = useState<Token | null>(null)
  const [secret, setSecret] = useState('')
  const changed = () => client.invalidateQueries({ queryKey: ['tokens'] })
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('tokens.list')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('tokens.name')}</th>
            <th scope="col">{t('tokens.role')}</th>
            {whose === 'all' && <th scope="col" className={ui.wide}>{t('tokens.by')}</th>}
            <th scope="col" className={ui.wide}>{t('tokens.created')}</th>
            <th scope="col" className={ui.medium}>{t('tokens.used')}</th>
            <th scope="col" className={ui.wide}>{t('tokens.expires')}</th>
            <th scope="col"><span className="visually-hidden">{t('tokens.end')}</span></th>
          </tr>
        </thead>
        <tbody>
          {items.map((token) => (
            <tr key={token.id}>
              <td className="break"><strong>{token.name}</strong><div className={`${ui.sub} mono`}>{token.hint}…</div></td>
              <td className="break">{token.role}<div className={ui.sub}>{token.scopes.join(', ')}</div></td>
              {whose === 'all' && <td className={ui.wide}>{token.created_by}{token.personal && <div className={ui.sub}>{t('scopes.personal')}</div>}</td>}
              <td className={ui.wide}><Time at={token.created} /></td>
              <td className={ui.medium}>{token.last_used ? <Ago at={token.last_used} /> : t('tokens.never')}</td>
              <td className={ui.wide}>{token.expires ? <Time at={token.expires} /> : t('tokens.neverExpires')}</td>
              <td className={ui.right}>
                <Group gap={6} justify="flex-end">
                  <Button size="compact-xs" variant="default" onClick={() => setRotating(token)} aria-label={t('scopes.rotateOne', { name: token.name })}>{t('scopes.rotate')}</Button>
                  <Button size="compact-xs" variant="default" onClick={() => setEnding(token)} aria-label={t('tokens.endOne', { name: token.name })}>{t('tokens.end')}</Button>
                </Group>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Confirm opened={rotating !== null} onClose={() => setRotating(null)} title={t('scopes.rotateOne', { name: rotating?.name ?? '' })} confirm={t('scopes.rotate')}
        act={async () => {
          if (rotating) setSecret((await tokenDeeds[whose].rotate(rotating.id)).token)
          await changed()
        }}>
        {t('scopes.rotateText')}
      </Confirm>
      <Modal opened={secret !== ''} onClose={() => setSecret('')} title={t('scopes.rotate')} closeButtonProps={{ 'aria-label': t('close') }}>
        <Secret token={secret} onClose={() => setSecret('')} />
      </Modal>
      <Confirm opened={ending !== null} onClose={() => setEnding(null)} title={t('tokens.endOne', { name: ending?.name ?? '' })} confirm={t('tokens.end')} danger
        act={async () => {
          if (ending) await tokenDeeds[whose].remove(ending.id)
          await changed()
        }}>
        {t('tokens.endText')}
      </Confirm>
    </>
  )
}
