// Who shares this server, for who runs it.
import '../locales/tenants'
import { Button, Modal, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { act, tenants } from '../api/tenants'
import { PlusIcon } from '../ui/icons'
import { StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Loaded, Problem } from '../ui/states'
import ui from '../ui/ui.module.css'
import { Has } from './tenants/Use'

export function TenantsPage() {
  const { t } = useTranslation()
  const list = useQuery(tenants)
  const [adding, setAdding] = useState(false)
  return (
    <Page title={t('tenants.title')} lead={t('tenants.lead')} actions={<Button leftSection={<PlusIcon />} onClick={() => setAdding(true)}>{t('tenants.add')}</Button>}>
      <Modal opened={adding} onClose={() => setAdding(false)} title={t('tenants.add')} closeButtonProps={{ 'aria-label': t('close') }}>
        {adding && <Add />}
      </Modal>
      <Panel title={t('tenants.list')} flush>
        <Loaded query={list}>
          {({ items }) => (
            <table className={ui.table}>
              <caption className="visually-hidden">{t('tenants.list')}</caption>
              <thead>
                <tr>
                  <th scope="col">{t('tenants.name')}</th>
                  <th scope="col">{t('tenants.state')}</th>
                  <th scope="col">{t('tenants.names.agents')}</th>
                  <th scope="col" className={ui.medium}>{t('tenants.names.users')}</th>
                  <th scope="col" className={ui.wide}>{t('tenants.names.series')}</th>
                  <th scope="col" className={ui.wide}>{t('tenants.names.capture_bytes')}</th>
                  <th scope="col" className={ui.wide}>{t('tenants.names.flows')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((of) => (
                  <tr key={of.id} className={ui.row}>
                    <td><Link to="/tenants/$id" params={{ id: of.id }} className={ui.main}>{of.name}</Link></td>
                    <td>{of.id === 'default' ? t('tenants.operator') : <StateMark tone={of.state === 'active' ? 'good' : 'bad'}>{t(`tenants.${of.state}`)}</StateMark>}</td>
                    <td><Has of={of} name="agents" /></td>
                    <td className={ui.medium}><Has of={of} name="users" /></td>
                    <td className={ui.wide}><Has of={of} name="series" /></td>
                    <td className={ui.wide}><Has of={of} name="capture_bytes" /></td>
                    <td className={ui.wide}><Has of={of} name="flows" /></td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
        </Loaded>
      </Panel>
    </Page>
  )
}

function Add() {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const [name, setName] = useState('')
  const make = useMutation({
    mutationFn: () => act.create(name.trim()),
    onSuccess: async ({ id }) => {
      await client.invalidateQueries({ queryKey: ['tenants'] })
      await navigate({ to: '/tenants/$id', params: { id } })
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <p className="dim">{t('tenants.addText')}</p>
      <TextInput label={t('tenants.name')} description={t('tenants.nameText')} required maxLength={40} autoCapitalize="none" spellCheck={false} value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" loading={make.isPending} disabled={name.trim() === ''}>{t('tenants.make')}</Button></div>
    </form>
  )
}
