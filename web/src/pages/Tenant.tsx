// One tenant: what it has and may have, its administrators, whether it is let in. Its own administrators see the first of that.
import '../locales/tenants'
import { Button, NumberInput, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate, useParams } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { act, ownTenant, tenant, type Quotas, type Tenant } from '../api/tenants'
import { bytes, count } from '../lib/format'
import { Confirm } from '../ui/confirm'
import { Copy } from '../ui/Copy'
import { LoadedPage } from '../ui/LoadedPage'
import { StateMark } from '../ui/marks'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Loaded, Problem } from '../ui/states'
import { Time } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { ownerName } from './incidents/owner'
import css from './tenants/tenants.module.css'
import { quotaNames, Use } from './tenants/Use'

export function TenantPage() {
  const { t } = useTranslation()
  const { id } = useParams({ from: '/inside/tenants/$id' })
  const query = useQuery(tenant(id))
  return (
    <LoadedPage query={query} title={t('tenants.title')} back={{ to: '/tenants', label: t('tenants.title') }}>
      {(of) => <Detail of={of} />}
    </LoadedPage>
  )
}

export function OwnTenantPage() {
  const { t } = useTranslation()
  const query = useQuery(ownTenant)
  return (
    <Page title={t('tenants.own')} lead={query.data && t('tenants.ownLead', { name: query.data.name })}>
      <Panel title={t('tenants.use')} hint={t('tenants.ownHint')} flush>
        <Loaded query={query}>{(of) => <Use of={of} />}</Loaded>
      </Panel>
    </Page>
  )
}

function Detail({ of }: { of: Tenant }) {
  const { t } = useTranslation()
  const guest = of.id !== 'default'
  return (
    <Page title={of.name} back={{ to: '/tenants', label: t('tenants.title') }} actions={guest && <Deeds of={of} />}>
      <Panel title={t('tenants.use')} flush><Use of={of} /></Panel>
      <Panel title={t('tenants.quotas')} hint={t('tenants.quotasHint')}><QuotaForm key={JSON.stringify(of.quotas)} of={of} /></Panel>
      {guest && <Panel title={t('tenants.administrator')}><Invite of={of} /></Panel>}
      <Panel title={t('tenants.about')}>
        <Facts>
          <Fact name={t('tenants.state')}>{guest ? <StateMark tone={of.state === 'active' ? 'good' : 'bad'}>{t(`tenants.${of.state}`)}</StateMark> : t('tenants.operator')}</Fact>
          {guest && <Fact name={t('tenants.signIn')}><code>{of.name}/…</code></Fact>}
          {of.created && <Fact name={t('tenants.created')}><Time at={of.created} /></Fact>}
          {of.created_by && <Fact name={t('tenants.by')}>{ownerName(of.created_by)}</Fact>}
        </Facts>
      </Panel>
    </Page>
  )
}

function Deeds({ of }: { of: Tenant }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const [asking, setAsking] = useState<'suspend' | 'delete' | null>(null)
  const refresh = () => client.invalidateQueries({ queryKey: ['tenants'] })
  const resume = useMutation({ mutationFn: () => act.resume(of.id), onSuccess: refresh })
  const goes = { users: count(of.use.users), agents: count(of.use.agents), flows: count(of.use.flows), bytes: bytes(of.use.capture_bytes) }
  const remove = async () => {
    await act.remove(of.id)
    await navigate({ to: '/tenants' })
    tell.done(t('tenants.removed', { name: of.name }))
    client.removeQueries({ queryKey: ['tenants', of.id] })
    await refresh()
  }
  return (
    <div className={css.deeds}>
      {of.state === 'active'
        ? <Button variant="default" onClick={() => setAsking('suspend')}>{t('tenants.suspend')}</Button>
        : <Button variant="default" loading={resume.isPending} onClick={() => resume.mutate()}>{t('tenants.resume')}</Button>}
      {of.state === 'suspended' && <Button variant="default" onClick={() => setAsking('delete')}>{t('tenants.delete')}</Button>}
      {resume.isError && <Problem error={resume.error} />}
      <Confirm opened={asking === 'suspend'} onClose={() => setAsking(null)} title={t('tenants.suspendOne', { name: of.name })} confirm={t('tenants.suspend')} danger
        act={() => act.suspend(of.id).then(refresh)}>
        {t('tenants.suspendText', goes)}
      </Confirm>
      <Confirm opened={asking === 'delete'} onClose={() => setAsking(null)} title={t('tenants.deleteOne', { name: of.name })} confirm={t('tenants.delete')} danger act={remove}>
        {t('tenants.deleteText', goes)}
      </Confirm>
    </div>
  )
}

function QuotaForm({ of }: { of: Tenant }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [quotas, setQuotas] = useState<Quotas>(of.quotas)
  const save = useMutation({
    mutationFn: () => act.quotas(of.id, quotas),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: ['tenants'] })
      tell.done(t('tenants.saved'))
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    save.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <div className={`${ui.fields} ${css.quotas}`}>
        {quotaNames.map((name) => (
          <NumberInput key={name} label={name === 'capture_bytes' ? t('tenants.captureBytes') : t(`tenants.names.${name}`)} min={0} allowDecimal={false} hideControls thousandSeparator=" "
            value={quotas[name]} onChange={(v) => setQuotas((was) => ({ ...was, [name]: Number(v) || 0 }))} />
        ))}
      </div>
      {save.isError && <Problem error={save.error} />}
      <div><Button type="submit" loading={save.isPending}>{t('tenants.save')}</Button></div>
    </form>
  )
}

function Invite({ of }: { of: Tenant }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const [name, setName] = useState('')
  const make = useMutation({ mutationFn: (user: string) => act.invite(of.id, user), onSuccess: () => client.invalidateQueries({ queryKey: ['tenants'] }) })
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate(name.trim())
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <p className="dim">{t('tenants.administratorText')}</p>
      <TextInput className={ui.narrow} label={t('tenants.user')} required autoCapitalize="none" spellCheck={false} value={name} onChange={(e) => setName(e.currentTarget.value)} />
      {make.data && (
        <>
          <p>{t('tenants.once', { name: `${of.name}/${make.variables}`, until: new Date(make.data.expires).toLocaleString() })}</p>
          <Copy text={make.data.link} label={t('tenants.link')} />
        </>
      )}
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" variant="default" loading={make.isPending} disabled={name.trim() === ''}>{t('tenants.invite')}</Button></div>
    </form>
  )
}
