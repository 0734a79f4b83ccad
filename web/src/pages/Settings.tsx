// What an administrator can set here, and what only the configuration file can.
import '../locales/operate'
import { Button, Checkbox, Group, Modal, NativeSelect, NumberInput, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { backups, fileSettings, operate, rateLimits, retention, retentionPreview, type Backup, type Kept, type RateLimits } from '../api/operate'
import { bytes, count } from '../lib/format'
import { Confirm } from '../ui/confirm'
import { Copy } from '../ui/Copy'
import { StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, Loaded, Problem } from '../ui/states'
import { Ago } from '../ui/Time'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './settings/settings.module.css'

export function SettingsPage() {
  const { t } = useTranslation()
  const kept = useQuery(retention)
  const limits = useQuery(rateLimits)
  return (
    <Page title={t('settings.title')} lead={t('settings.lead')}>
      <Backups />
      <Panel title={t('settings.retention')} hint={t('settings.retentionHint')}>
        <Loaded query={kept}>{({ items }) => <Retention key={JSON.stringify(items)} items={items} />}</Loaded>
      </Panel>
      <Panel title={t('settings.limits')} hint={t('settings.limitsHint')}>
        <Loaded query={limits}>{(is) => <Limits key={JSON.stringify(is)} is={is} />}</Loaded>
      </Panel>
      <Panel title={t('settings.elsewhere')}>
        <ul className={css.links}>
          <li><Link to="/users">{t('settings.toPolicy')}</Link></li>
          <li><Link to="/account">{t('settings.toSessions')}</Link></li>
          <li><Link to="/system">{t('settings.toSystem')}</Link></li>
          <li><Link to="/welcome">{t('settings.toWelcome')}</Link></li>
        </ul>
      </Panel>
      <InFile />
    </Page>
  )
}

function Backups() {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const list = useQuery(backups)
  const [making, setMaking] = useState(false)
  const [verifying, setVerifying] = useState<Backup | null>(null)
  const [removing, setRemoving] = useState<Backup | null>(null)
  const fresh = () => client.invalidateQueries({ queryKey: backups.queryKey })
  return (
    <Panel title={t('settings.backups')} flush actions={<Button onClick={() => setMaking(true)}>{t('settings.makeBackup')}</Button>}>
      <Modal opened={making} onClose={() => setMaking(false)} title={t('settings.makeBackup')} closeButtonProps={{ 'aria-label': t('close') }}>
        {making && <Make onDone={() => { setMaking(false); void fresh() }} />}
      </Modal>
      <Modal opened={verifying !== null} onClose={() => setVerifying(null)} title={t('settings.verify')} closeButtonProps={{ 'aria-label': t('close') }}>
        {verifying && <Verify of={verifying} />}
      </Modal>
      {removing && (
        <Confirm opened onClose={() => setRemoving(null)} title={t('settings.removeBackup')} confirm={t('settings.remove')} danger act={async () => {
          await operate.removeBackup(removing.name)
          await fresh()
          tell.done(t('settings.removed'))
        }}>{removing.name}</Confirm>
      )}
      <Loaded query={list}>
        {({ items, failed }) => (
          <>
            {failed && <p className={css.failed} role="alert"><StateMark tone="bad">{t('settings.lastFailed')}</StateMark> {failed}</p>}
            {items.length === 0 ? <Empty title={t('settings.noBackups')}>{t('settings.noBackupsText')}</Empty> : (
              <table className={ui.table}>
                <caption className="visually-hidden">{t('settings.backups')}</caption>
                <thead><tr><th scope="col">{t('settings.made')}</th><th scope="col" className={ui.medium}>{t('settings.holds')}</th><th scope="col" className={ui.right}>{t('settings.size')}</th><th scope="col"><span className="visually-hidden">{t('settings.actions')}</span></th></tr></thead>
                <tbody>
                  {items.map((b) => (
                    <tr key={b.name}>
                      <td><Ago at={b.created} /><div className={ui.sub}>{b.name}</div></td>
                      <td className={ui.medium}>{t(`settings.modes.${b.mode}`)}{b.encrypted && <div className={ui.sub}>{t('settings.encrypted')}</div>}{b.scheduled && <div className={ui.sub}>{t('settings.scheduled')}</div>}</td>
                      <td className={`${ui.right} num`}>{b.state === 'running' ? <StateMark tone="busy">{t('settings.running')}</StateMark> : bytes(b.size)}</td>
                      <td className={ui.right}>
                        {b.state === 'done' && (
                          <span className={css.acts}>
                            <Button size="sm" variant="default" component="a" href={`/api/v1/admin/backups/${encodeURIComponent(b.name)}`} download={b.name}>{t('settings.download')}</Button>
                            <Button size="sm" variant="default" onClick={() => setVerifying(b)}>{t('settings.verify')}</Button>
                            <Button size="sm" variant="default" onClick={() => setRemoving(b)}>{t('settings.remove')}</Button>
                          </span>
                        )}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            )}
          </>
        )}
      </Loaded>
      <details className={css.how}>
        <summary>{t('settings.howRestore')}</summary>
        <ol>
          <li>{t('settings.restore1')}</li>
          <li>{t('settings.restore2')}<Copy text="picketd restore --data /var/lib/picket-new picket-….tar.zst" label={t('settings.howRestore')} /></li>
          <li>{t('settings.restore3')}</li>
        </ol>
        <p className="dim">{t('settings.scheduleHint')}</p>
      </details>
    </Panel>
  )
}

function Make({ onDone }: { onDone: () => void }) {
  const { t } = useTranslation()
  const make = useMutation({ mutationFn: operate.backup, onSuccess: onDone })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    make.mutate({ mode: form.get('mode') as Backup['mode'], passphrase: String(form.get('passphrase')) || undefined, captures: form.get('captures') === 'on' })
  }
  return (
    <form className={css.form} onSubmit={submit}>
      <NativeSelect name="mode" label={t('settings.holds')} data={(['full', 'data', 'config'] as const).map((m) => ({ value: m, label: t(`settings.modes.${m}`) }))} />
      <PasswordInput name="passphrase" label={t('settings.passphrase')} description={t('settings.passphraseHint')} autoComplete="new-password" visibilityToggleButtonProps={{ 'aria-label': t('settings.showIt') }} />
      <Checkbox name="captures" label={t('settings.withCaptures')} />
      {make.isError && <Problem error={make.error} />}
      <Group justify="flex-end"><Button type="submit" loading={make.isPending}>{t('settings.begin')}</Button></Group>
    </form>
  )
}

function Verify({ of }: { of: Backup }) {
  const { t } = useTranslation()
  const [key, setKey] = useState('')
  const verify = useMutation({ mutationFn: () => operate.verify(of.name, key) })
  return (
    <div className={css.form}>
      <p>{t('settings.verifyText')}</p>
      {of.encrypted && <PasswordInput label={t('settings.opens')} value={key} onChange={(e) => setKey(e.currentTarget.value)} autoComplete="off" visibilityToggleButtonProps={{ 'aria-label': t('settings.showIt') }} />}
      {verify.isError && <Problem error={verify.error} />}
      {verify.data && <p role="status"><StateMark tone="good">{t('settings.whole', { files: count(verify.data.files), size: bytes(verify.data.bytes) })}</StateMark></p>}
      <Group justify="flex-end"><Button loading={verify.isPending} onClick={() => verify.mutate()}>{t('settings.verify')}</Button></Group>
    </div>
  )
}

const order = ['samples', 'five_minutes', 'hours', 'days', 'flows', 'alerts', 'incidents', 'devices', 'audit', 'sessions']
const inDays = ['samples', 'five_minutes', 'hours', 'days', 'flows']

export function Retention({ items, onSaved }: { items: Kept[]; onSaved?: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [days, setDays] = useState<Record<string, number>>(Object.fromEntries(items.map((k) => [k.kind, k.days])))
  const [asking, setAsking] = useState(false)
  const changed = Object.fromEntries(items.filter((k) => days[k.kind] !== k.days).map((k) => [k.kind, days[k.kind]!]))
  const preview = useQuery(retentionPreview(days))
  const now = (kind: string) => preview.data?.items.find((x) => x.kind === kind)
  const amount = (kind: string, a: { count: number; bytes: number } | undefined) =>
    a === undefined ? '…' : inDays.includes(kind) ? `${t('settings.daysOf', { count: a.count })}${a.bytes > 0 ? `, ${bytes(a.bytes)}` : ''}` : t('settings.rowsOf', { count: a.count })
  const goes = items.filter((k) => (now(k.kind)?.goes.count ?? 0) > 0)
  return (
    <>
      <div className={css.scroll} tabIndex={0} role="group" aria-label={t('settings.retention')}>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('settings.retention')}</caption>
        <thead><tr><th scope="col">{t('settings.kind')}</th><th scope="col">{t('settings.days')}</th><th scope="col" className={ui.medium}>{t('settings.there')}</th><th scope="col">{t('settings.goes')}</th></tr></thead>
        <tbody>
          {items.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)).map((k) => (
            <tr key={k.kind}>
              <td>{t(`settings.kinds.${k.kind}` as 'settings.kinds.flows', { defaultValue: k.kind })}<div className={ui.sub}>{t('settings.usual', { count: k.default })}</div></td>
              <td><NumberInput className={css.number} aria-label={`${t(`settings.kinds.${k.kind}` as 'settings.kinds.flows', { defaultValue: k.kind })}: ${t('settings.days')}`} value={days[k.kind]} min={1} max={36_500} allowDecimal={false} hideControls onChange={(n) => setDays((old) => ({ ...old, [k.kind]: Number(n) || k.default }))} /></td>
              <td className={ui.medium}>{amount(k.kind, now(k.kind)?.now)}</td>
              <td>{now(k.kind)?.goes.count === 0 ? <span className="dim">{t('settings.nothingGoes')}</span> : amount(k.kind, now(k.kind)?.goes)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      </div>
      {preview.isError && <Problem error={preview.error} />}
      <div className={css.acts}>
        <Button disabled={Object.keys(changed).length === 0} onClick={() => setAsking(true)}>{t('settings.save')}</Button>
        {Object.keys(changed).length > 0 && <Button variant="default" onClick={() => setDays(Object.fromEntries(items.map((k) => [k.kind, k.days])))}>{t('settings.undo')}</Button>}
      </div>
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('settings.saveRetention')} confirm={t('settings.save')} danger={goes.length > 0} act={async () => {
        await operate.keep(changed)
        await client.invalidateQueries({ queryKey: retention.queryKey })
        tell.done(t('settings.saved'))
        onSaved?.()
      }}>
        {goes.length === 0 ? t('settings.nothingWouldGo') : <><p>{t('settings.wouldGo')}</p><ul>{goes.map((k) => <li key={k.kind}>{t(`settings.kinds.${k.kind}` as 'settings.kinds.flows', { defaultValue: k.kind })}: {amount(k.kind, now(k.kind)?.goes)}</li>)}</ul></>}
      </Confirm>
    </>
  )
}

const classes = ['signin', 'public', 'refused', 'read', 'change', 'agent'] as const

function Limits({ is }: { is: RateLimits }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [limits, setLimits] = useState(is)
  const save = useMutation({
    mutationFn: () => operate.limit(limits),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: rateLimits.queryKey })
      tell.done(t('settings.saved'))
    },
  })
  return (
    <>
      <div className={css.fields}>
        {classes.map((c) => <NumberInput key={c} label={t(`settings.classes.${c}`)} description={t(`settings.classText.${c}`)} value={limits[c]} min={c === 'signin' ? 1 : 0} max={1_000_000} allowDecimal={false} hideControls onChange={(n) => setLimits({ ...limits, [c]: Number(n) || 0 })} />)}
      </div>
      {save.isError && <Problem error={save.error} />}
      <div className={css.acts}><Button loading={save.isPending} disabled={classes.every((c) => limits[c] === is[c])} onClick={() => save.mutate()}>{t('settings.save')}</Button></div>
    </>
  )
}

function InFile() {
  const { t } = useTranslation()
  const list = useQuery(fileSettings)
  const [text, setText] = useState('')
  return (
    <Panel title={t('settings.file')} flush>
      <div className={css.fileHead}>
        <p>{t('settings.fileText')} <code>/etc/picket/picketd.yaml</code></p>
        <TextInput label={t('settings.find')} value={text} onChange={(e) => setText(e.currentTarget.value)} placeholder="syslog" />
      </div>
      <Loaded query={list}>
        {({ items }) => (
          <table className={ui.table}>
            <caption className="visually-hidden">{t('settings.file')}</caption>
            <thead><tr><th scope="col">{t('settings.key')}</th><th scope="col">{t('settings.value')}</th></tr></thead>
            <tbody>{items.filter((s) => s.key.includes(text.trim().toLowerCase())).map((s) => <tr key={s.key}><td><code className="break">{s.key}</code></td><td className="break">{s.value || <span className="dim">{t('settings.noValue')}</span>}{!s.default && <div className={ui.sub}>{t('settings.own')}</div>}</td></tr>)}</tbody>
          </table>
        )}
      </Loaded>
    </Panel>
  )
}
