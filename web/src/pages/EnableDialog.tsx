// Enabling a plugin: where, with which settings, and what it may do. The settings are also the allow list: a
// permission that refers to a field grants what stands in that field, and nothing more.
import { Button, Checkbox, Group, Modal, NativeSelect, TextInput } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQueryClient } from '@tanstack/react-query'
import { useMemo, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../api/actions'
import { ApiError } from '../api/http'
import { agents } from '../api/queries'
import type { EnableRequest, Plugin } from '../api/types'
import { asObject, fieldsOf, initialValues, keyOf, submit, type Field, type FormProblem } from '../lib/configForm'
import { limitValues, readLimits, standingLimits, type LimitProblem } from '../lib/limits'
import { watches } from '../lib/observers'
import '../locales/plugins'
import { ConfigFields } from '../ui/ConfigFields'
import { LimitFields } from '../ui/LimitFields'
import { Problem } from '../ui/states'
import { PermissionText } from '../ui/Permissions'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import css from './plugins.module.css'

interface Props {
  plugin: Plugin
  onClose: () => void
}

/** Detectors judge what the server reads; notifiers tell for the server. Measuring happens on the machines. */
const home = { collector: 'agents', discovery: 'agents', detector: 'server', notifier: 'server' } as const

export default function EnableDialog({ plugin: p, onClose }: Props) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} size="lg" title={t('enable.title', { name: p.title || p.id })} closeButtonProps={{ 'aria-label': t('close') }}>
      <EnableForm plugin={p} onClose={onClose} />
    </Modal>
  )
}

function EnableForm({ plugin: p, onClose }: Props) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const existing = p.instances?.[0]
  const fields = useMemo(() => fieldsOf(p.config_schema), [p.config_schema])
  const [values, setValues] = useState(() => initialValues(fields, asObject(existing?.config)))
  const [problems, setProblems] = useState<Record<string, FormProblem>>({})
  const [node, setNode] = useState<string>(existing?.instance.includes('@') ? existing.node.id : watches(p) ? 'server' : home[p.kind])
  const [runtime, setRuntime] = useState<string | null>(existing?.runtime || p.runtimes?.[0] || null)
  // A change of settings is no change of version, unless somebody wants both.
  const [version, setVersion] = useState(existing?.version || p.version || '')
  const [interval, setInterval] = useState(existing?.interval ?? '')
  const [limits, setLimits] = useState(() => limitValues(existing?.limits_set))
  const [limitProblems, setLimitProblems] = useState<LimitProblem[]>([])
  const standing = useMemo(() => standingLimits(existing?.limits, existing?.limits_set), [existing?.limits, existing?.limits_set])
  const asked = p.permissions ?? []
  const [granted, setGranted] = useState<boolean[]>(() => asked.map(() => false))
  const [refused, setRefused] = useState(false)
  const machines = useInfiniteQuery(agents)
  const placed = p.kind === 'collector' || p.kind === 'discovery'
  const recurring = placed && !watches(p) // who only watches traffic is shown it when it comes

  const enable = useMutation({
    mutationFn: (wish: Parameters<typeof act.enable>[1]) => act.enable(p.id, wish),
    onSuccess: async () => {
      tell.done(t('enable.done', { name: p.title || p.id }))
      onClose()
      await Promise.all([client.invalidateQueries({ queryKey: ['plugins'] }), client.invalidateQueries({ queryKey: ['overview'] })])
    },
  })

  const send = (event: FormEvent) => {
    event.preventDefault()
    const made = submit(fields, values, existing?.secrets_set)
    const missing = asked.some((perm, i) => !perm.optional && !granted[i])
    const held = readLimits(limits, existing?.limits_set)
    setProblems(made.problems)
    setLimitProblems(held.problems)
    setRefused(missing)
    if (missing || held.problems.length > 0 || Object.keys(made.problems).length > 0) return
    const all = granted.every(Boolean)
    enable.mutate({
      node,
      version: version || undefined,
      runtime: (runtime ?? undefined) as EnableRequest['runtime'],
      interval: (recurring && interval.trim()) || undefined,
      config: made.config,
      secrets: made.secrets,
      limits: held.limits,
      grants: all ? 'all' : asked.filter((_, i) => granted[i]).map((perm) => perm.cap),
    })
  }

  const nodes = [
    ...(watches(p) ? [{ value: 'server', label: t('enable.server') }] : []),
    { value: 'agents', label: t('enable.agents') },
    ...(machines.data ?? []).map((m) => ({ value: m.id, label: m.name })),
  ]
  const fromServer = enable.error instanceof ApiError ? serverProblems(enable.error) : {}
  const inputs = {
    values,
    problems,
    fromServer,
    stored: existing?.secrets_set ?? [],
    onChange: (path: string[], value: unknown) => setValues((v) => ({ ...v, [keyOf(path)]: value })),
  }
  const draft = submit(fields, values, existing?.secrets_set).config
  // What must be said, and secrets, come first; the rest has defaults and stays folded until it is wanted or wrong.
  const first = fields.filter((f) => f.required || f.kind === 'secret')
  const further = fields.filter((f) => !first.includes(f))
  const wrong = [...Object.keys(problems), ...Object.keys(fromServer)]
  const concerns = (some: Field[]) => wrong.some((key) => some.some((f) => key === f.name || key.startsWith(`${f.name}.`)))
  return (
    <form onSubmit={send} className={ui.form} noValidate>
      <div className={ui.fields}>
        {placed && <NativeSelect label={t('enable.where')} data={nodes} value={node} onChange={(e) => setNode(e.currentTarget.value)} />}
        {p.runtimes?.length > 1 && (
          <NativeSelect label={t('plugins.runtime')} value={runtime ?? ''} onChange={(e) => setRuntime(e.currentTarget.value)}
            data={p.runtimes.map((r) => ({ value: r, label: t(`enable.runtimes.${r}` as 'enable.runtimes.process', { defaultValue: r }) }))} />
        )}
        {p.versions.length > 1 && (
          <NativeSelect label={t('plugins.version')} value={version} onChange={(e) => setVersion(e.currentTarget.value)} data={[...new Set([version, ...p.versions])].filter(Boolean)} />
        )}
        {recurring && <TextInput label={t('enable.interval')} placeholder={t('enable.intervalDefault')} value={interval} onChange={(e) => setInterval(e.currentTarget.value)} />}
      </div>
      <ConfigFields {...inputs} fields={first} />
      {further.length > 0 && (
        <details className={css.further} open={concerns(further) || undefined}>
          <summary>{t('enable.further', { count: further.length })}</summary>
          <div><ConfigFields {...inputs} fields={further} /></div>
        </details>
      )}
      <details className={css.further} open={limitProblems.length > 0 || 'limits' in fromServer || undefined}>
        <summary>{t('enable.limits')}</summary>
        <div><LimitFields values={limits} standing={standing} problems={limitProblems} onChange={(name, value) => setLimits((l) => ({ ...l, [name]: value }))} /></div>
      </details>
      <fieldset className={ui.group}>
        <legend>{t('enable.may')}</legend>
        {asked.length === 0 && <p className="dim">{t('plugin.noPermissions')}</p>}
        {asked.map((perm, i) => (
          <Checkbox key={i} checked={granted[i] ?? false}
            onChange={(e) => {
              const on = e.currentTarget.checked
              setGranted((g) => g.map((old, n) => (n === i ? on : old)))
            }}
            error={refused && !perm.optional && !granted[i] ? t('enable.needed') : undefined}
            label={<span className={ui.lines}><PermissionText permission={perm} config={draft} risk />{perm.optional && <em className="dim">{t('enable.optional')}</em>}</span>} />
        ))}
        {asked.length > 0 && <p className="dim">{t('enable.ceiling')}</p>}
      </fieldset>
      {enable.isError && <Problem error={enable.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={enable.isPending}>{existing ? t('enable.save') : t('plugin.enable')}</Button>
      </Group>
    </form>
  )
}

/** Problems of the server by the key of the field: "body.config.tls.verify" belongs to "tls.verify". */
function serverProblems(error: ApiError): Record<string, string> {
  return Object.fromEntries(error.fields.map((f) => [f.path.replace(/^body\./, '').replace(/^(config|secrets)\.?/, ''), f.message]))
}
