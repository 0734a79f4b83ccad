// Changing what a target runs: one plugin's settings said anew here, or no longer said here. All else stays as it is.
import { Button, Group, Modal, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useMemo, useState, type FormEvent, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { comparison, config as configOf, configActions, type Config } from '../../api/groups'
import { ApiError } from '../../api/http'
import { plugin as pluginOf } from '../../api/queries'
import type { Plugin } from '../../api/types'
import { asObject, fieldsOf, initialValues, keyOf, submit, type FormProblem } from '../../lib/configForm'
import { wantedOf, whose, type Configured, type WantedPlugin } from '../../lib/groups'
import { ConfigFields } from '../../ui/ConfigFields'
import { Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'
import { Diff } from './Diff'
import { StagingFields, useStaging } from './Staging'

interface Props {
  config: Config
  plugin: Configured
  onClose: () => void
}

export function ChangeDialog(props: Props) {
  const { t } = useTranslation()
  const query = useQuery(pluginOf(props.plugin.plugin))
  const here = props.plugin.from === props.config.target
  return (
    <Modal opened onClose={props.onClose} size="lg" title={t(here ? 'configs.changeOf' : 'configs.otherwiseOf', { plugin: props.plugin.plugin })} closeButtonProps={{ 'aria-label': t('close') }}>
      <Loaded query={query} rows={5}>{(p) => <Form {...props} about={p} here={here} />}</Loaded>
    </Modal>
  )
}

function Form({ config: c, plugin: p, about, here, onClose }: Props & { about: Plugin; here: boolean }) {
  const { t } = useTranslation()
  const fields = useMemo(() => fieldsOf(about.config_schema), [about.config_schema])
  const [values, setValues] = useState(() => initialValues(fields, asObject(p.config)))
  const [problems, setProblems] = useState<Record<string, FormProblem>>({})
  const [interval, setInterval] = useState(p.interval ?? '')
  const stored = here ? p.secrets_set : [] // a secret that was given elsewhere stays there
  // What must be said, and secrets, come first; the rest has defaults.
  const first = fields.filter((f) => f.required || f.kind === 'secret')
  const further = fields.filter((f) => !first.includes(f))
  const read = (): WantedPlugin | undefined => {
    const made = submit(fields, values, stored)
    setProblems(made.problems)
    if (Object.keys(made.problems).length > 0) return undefined
    return { ...wantedOf(p), config: made.config, secrets: made.secrets, interval: interval.trim() || undefined }
  }
  return (
    <Sending config={c} onClose={onClose} plugins={() => {
      const wanted = read()
      return wanted && [...c.own.filter((o) => o.plugin !== p.plugin).map(wantedOf), wanted]
    }}>
      {(fromServer) => {
        const inputs = { values, problems, fromServer, stored, onChange: (path: string[], v: unknown) => setValues((old) => ({ ...old, [keyOf(path)]: v })) }
        const wrong = [...Object.keys(problems), ...Object.keys(fromServer)].some((key) => further.some((f) => key === f.name || key.startsWith(`${f.name}.`)))
        return (
          <>
            {p.interval && <TextInput label={t('configs.interval')} value={interval} maxLength={20} onChange={(e) => setInterval(e.currentTarget.value)} data-autofocus />}
            <ConfigFields {...inputs} fields={first} />
            {further.length > 0 && (
              <details className={css.further} open={wrong || undefined}>
                <summary>{t('enable.further', { count: further.length })}</summary>
                <div><ConfigFields {...inputs} fields={further} /></div>
              </details>
            )}
          </>
        )
      }}
    </Sending>
  )
}

export function RemoveDialog({ config: c, plugin: p, onClose }: Props) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} size="lg" title={t('configs.removeOf', { plugin: p.plugin })} closeButtonProps={{ 'aria-label': t('close') }}>
      <Sending config={c} onClose={onClose} plugins={() => c.own.filter((o) => o.plugin !== p.plugin).map(wantedOf)}>
        {() => <p>{t('configs.removeText', { plugin: p.plugin })}</p>}
      </Sending>
    </Modal>
  )
}

interface SendingProps {
  config: Config
  /** All that is to be said, or undefined when something is wrong with it. */
  plugins: () => WantedPlugin[] | undefined
  onClose: () => void
  children: (fromServer: Record<string, string>) => ReactNode
}

/** Sends a whole configuration, made from the version that was seen. */
function Sending({ config: c, plugins, onClose, children }: SendingProps) {
  const { t } = useTranslation()
  const staging = useStaging()
  const [at] = useState(c.version) // the page may read a newer one meanwhile
  const send = useChange(c.target, onClose)
  const submitted = (event: FormEvent) => {
    event.preventDefault()
    const wanted = plugins()
    if (wanted) send.mutate(() => configActions.set(c.target, at, wanted, staging.comment, staging.rollout))
  }
  const overtaken = send.error instanceof ApiError && send.error.status === 412
  const fromServer = send.error instanceof ApiError ? Object.fromEntries(send.error.fields.map((f) => [f.path.replace(/^body\.plugins\[\d+\]\.(config|secrets)\.?/, ''), f.message])) : {}
  return (
    <form onSubmit={submitted} className={ui.form} noValidate>
      {children(fromServer)}
      <StagingFields value={staging.value} onChange={staging.setValue} alone={whose(c.target).of === 'machine'} />
      {overtaken ? <Conflict target={c.target} at={at} /> : send.isError && <Problem error={send.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{overtaken ? t('configs.again') : t('cancel')}</Button>
        {!overtaken && <Button type="submit" loading={send.isPending}>{staging.rollout ? t('configs.roll') : t('configs.save')}</Button>}
      </Group>
    </form>
  )
}

/** Sends a change, says what became of it, and reads all that it touches again. */
export function useChange(target: string, onClose: () => void) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const refresh = () => Promise.all([['plugins', 'config', target], ['fleet']].map((queryKey) => client.invalidateQueries({ queryKey })))
  return useMutation({
    mutationFn: (act: () => ReturnType<typeof configActions.set>) => act(),
    onSuccess: async (done) => {
      tell.done(t(done.rollout ? 'configs.rolling' : 'configs.saved', { version: done.version }))
      onClose()
      await refresh()
    },
    onError: (error) => {
      if (error instanceof ApiError && error.status === 412) void refresh()
    },
  })
}

/** What somebody else changed since. */
export function Conflict({ target, at }: { target: string; at: number }) {
  const { t } = useTranslation()
  const now = useQuery(configOf(target)).data
  const query = useQuery({ ...comparison(target, now?.version ?? 0, at), enabled: now !== undefined && now.version > at })
  return (
    <div className={ui.error} role="alert">
      <strong>{t('configs.conflict')}</strong>
      {query.data && <p>{t('configs.conflictText', { by: query.data.version.by, version: query.data.version.version })}</p>}
      {query.data && <Diff diff={query.data} />}
    </div>
  )
}
