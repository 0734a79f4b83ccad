import { Button, Modal, NativeSelect, TextInput } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { tokens as act } from '../api/actions'
import { tokens } from '../api/queries'
import type { Role, Token } from '../api/types'
import { Confirm } from '../ui/confirm'
import { Copy } from '../ui/Copy'
import { PlusIcon } from '../ui/icons'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList, Problem } from '../ui/states'
import { Ago, Time } from '../ui/Time'
import ui from '../ui/ui.module.css'

const roles: readonly Role[] = ['ADM', 'IT', 'SUP', 'PUB']

export function TokensPage() {
  const { t } = useTranslation()
  const query = useInfiniteQuery(tokens)
  const [adding, setAdding] = useState(false)
  const button = <Button leftSection={<PlusIcon />} onClick={() => setAdding(true)}>{t('tokens.add')}</Button>
  return (
    <Page title={t('tokens.title')} lead={t('tokens.lead')} actions={button}>
      <Modal opened={adding} onClose={() => setAdding(false)} title={t('tokens.add')} closeButtonProps={{ 'aria-label': t('close') }}>
        {adding && <NewToken onClose={() => setAdding(false)} />}
      </Modal>
      <Panel title={t('tokens.list')} flush>
        <LoadedList query={query} empty={<Empty title={t('tokens.none')} action={button}>{t('tokens.noneText')}</Empty>}>
          {(items) => <TokenTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}

function NewToken({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [name, setName] = useState('')
  const [role, setRole] = useState<Role>('SUP')
  const make = useMutation({
    mutationFn: () => act.create(name.trim(), role),
    onSuccess: () => client.invalidateQueries({ queryKey: ['tokens'] }),
  })
  if (make.data) {
    return (
      <div className={ui.form}>
        <p>{t('tokens.once')}</p>
        <Copy text={make.data.token} label={t('tokens.secret')} />
        <div><Button onClick={onClose}>{t('done')}</Button></div>
      </div>
    )
  }
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <TextInput label={t('tokens.name')} description={t('tokens.nameText')} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      <NativeSelect label={t('tokens.role')} value={role} onChange={(e) => setRole(e.currentTarget.value as Role)}
        data={roles.map((r) => ({ value: r, label: `${r} – ${t(`roles.${r}`)}` }))} />
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" loading={make.isPending} disabled={name.trim() === ''}>{t('tokens.make')}</Button></div>
    </form>
  )
}

function TokenTable({ items }: { items: Token[] }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [ending, setEnding] = useState<Token | null>(null)
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('tokens.list')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('tokens.name')}</th>
            <th scope="col">{t('tokens.role')}</th>
            <th scope="col" className={ui.medium}>{t('tokens.by')}</th>
            <th scope="col" className={ui.medium}>{t('tokens.created')}</th>
            <th scope="col" className={ui.wide}>{t('tokens.used')}</th>
            <th scope="col" className={ui.wide}>{t('tokens.expires')}</th>
            <th scope="col"><span className="visually-hidden">{t('tokens.end')}</span></th>
          </tr>
        </thead>
        <tbody>
          {items.map((token) => (
            <tr key={token.id}>
              <td className="break"><strong>{token.name}</strong><div className={`${ui.sub} mono`}>{token.hint}…</div></td>
              <td>{token.role}</td>
              <td className={ui.medium}>{token.created_by}</td>
              <td className={ui.medium}><Time at={token.created} /></td>
              <td className={ui.wide}>{token.last_used ? <Ago at={token.last_used} /> : t('tokens.never')}</td>
              <td className={ui.wide}>{token.expires ? <Time at={token.expires} /> : t('tokens.neverExpires')}</td>
              <td className={ui.right}><Button size="compact-xs" variant="default" onClick={() => setEnding(token)} aria-label={t('tokens.endOne', { name: token.name })}>{t('tokens.end')}</Button></td>
            </tr>
          ))}
        </tbody>
      </table>
      <Confirm opened={ending !== null} onClose={() => setEnding(null)} title={t('tokens.endOne', { name: ending?.name ?? '' })} confirm={t('tokens.end')} danger
        act={async () => {
          if (ending) await act.remove(ending.id)
          await client.invalidateQueries({ queryKey: ['tokens'] })
        }}>
        {t('tokens.endText')}
      </Confirm>
    </>
  )
}
