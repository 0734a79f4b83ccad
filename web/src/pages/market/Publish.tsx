// For authors: a signed archive goes in, and the gates say what they found and how to mend it.
import { Button, FileButton } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useRef, useState, type DragEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { isPublishOver, market, publishJob, type PublishJob } from '../../api/market'
import { pluginPath } from '../../api/queries'
import { bytes, wholePercent } from '../../lib/format'
import '../../locales/captures'
import '../../locales/market'
import { Copy } from '../../ui/Copy'
import { UploadIcon } from '../../ui/icons'
import { Meter, StateMark } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Loaded, Problem } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import captures from '../captures.module.css'
import { GateList } from './card/Checks'
import css from './card.module.css'

interface Sending {
  name: string
  size: number
  progress: number
  job?: string
  error?: unknown
}

export function PublishPage() {
  const { t } = useTranslation()
  const [sending, setSending] = useState<Sending | null>(null)
  const call = useRef<AbortController>(null)
  useEffect(() => () => call.current?.abort(), [])

  const send = (file: File) => {
    call.current?.abort()
    const mine = (call.current = new AbortController())
    const change = (part: Partial<Sending>) => !mine.signal.aborted && setSending((s) => s && { ...s, ...part })
    setSending({ name: file.name, size: file.size, progress: 0 })
    market.publish(file, (progress) => change({ progress }), mine.signal)
      .then(({ job }) => change({ job, progress: 1 }))
      .catch((error: unknown) => change({ error }))
  }
  return (
    <Page title={t('publish.title')} lead={t('publish.lead')} back={{ to: '/market', label: t('market.title') }}>
      <div className={ui.columns}>
        <div className={ui.stack}>
          <Drop onFile={send} />
          {sending && <Sent key={sending.job ?? sending.name} sending={sending} />}
        </div>
        <Panel title={t('publish.how')}>
          <ol className={css.how}>
            {(['key', 'claim', 'test', 'pack'] as const).map((step) => (
              <li key={step}>
                <p>{t(`publish.steps.${step}`)}</p>
                <Copy line label={t('publish.command')} text={commands[step]} />
              </li>
            ))}
          </ol>
          <p className={`dim ${css.note}`}>{t('publish.privateKeys')}</p>
        </Panel>
      </div>
    </Page>
  )
}

const commands = {
  key: 'picket registry key new author.pem',
  claim: 'picket registry claim NAME --root root.json --key author.pem --contact you@example.org --out claim.json',
  test: 'picket plugin test .',
  pack: `picket plugin pack --registry ${location.origin}/registry --root root.json --key author.pem .`,
}

function Drop({ onFile }: { onFile: (file: File) => void }) {
  const { t } = useTranslation()
  const [over, setOver] = useState(false)
  const reset = useRef<() => void>(null)
  const take = (file: File | null | undefined) => file && onFile(file)
  return (
    <section className={captures.drop} aria-label={t('publish.dropLabel')} data-over={over || undefined}
      onDragOver={(e: DragEvent) => {
        if (!e.dataTransfer.types.includes('Files')) return
        e.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(e) => {
        e.preventDefault()
        setOver(false)
        take(e.dataTransfer.files[0])
      }}
    >
      <UploadIcon size={30} />
      <div>
        <strong>{t('publish.drop')}</strong>
        <p className="dim">{t('publish.dropText')}</p>
      </div>
      <FileButton resetRef={reset} accept=".tar,application/x-tar" inputProps={{ 'aria-label': t('publish.choose') }} onChange={(file) => {
        take(file)
        reset.current?.()
      }}>
        {(props) => <Button {...props}>{t('publish.choose')}</Button>}
      </FileButton>
    </section>
  )
}

function Sent({ sending: s }: { sending: Sending }) {
  const { t } = useTranslation()
  return (
    <Panel title={s.name} hint={bytes(s.size)}>
      {s.error !== undefined ? <Problem error={s.error} />
        : s.job ? <Job id={s.job} />
        : (
          <>
            <Meter value={Math.round(s.progress * 100)} of={100} label={t('captures.uploading', { name: s.name })} />
            <p className={ui.hint} role="status">{t('captures.sent', { part: wholePercent(s.progress) })}</p>
          </>
        )}
    </Panel>
  )
}

function Job({ id }: { id: string }) {
  const query = useQuery(publishJob(id))
  const client = useQueryClient()
  const published = query.data?.state === 'published'
  useEffect(() => {
    if (published) void client.invalidateQueries({ predicate: (q) => q.queryKey[0] === 'market' && q.queryKey[1] !== 'publish' })
  }, [published, client])
  return <Loaded query={query} rows={6}>{(job) => <JobView job={job} />}</Loaded>
}

function JobView({ job }: { job: PublishJob }) {
  const { t } = useTranslation()
  return (
    <div className={ui.form}>
      <p role="status">
        <StateMark tone={job.state === 'published' ? 'good' : job.state === 'refused' ? 'bad' : 'busy'}>{t(`publish.states.${job.state}`, { defaultValue: job.state })}</StateMark>
        {job.plugin && <> <span className="mono">{job.plugin}</span> <span className="num dim">{job.version}</span></>}
      </p>
      {job.problem && (
        <div className={ui.error} role="alert">
          <strong>{t('publish.refused')}</strong>
          <span className="break">{job.problem}</span>
          <span className="dim">{t('publish.refusedText')}</span>
        </div>
      )}
      {job.gates.length > 0 && <GateList gates={job.gates} fix />}
      {!isPublishOver(job) && <p className="dim">{t('publish.wait')}</p>}
      {job.state === 'published' && job.plugin && <Link to="/market/$ns/$name" params={pluginPath(job.plugin)} search={{ version: job.version }}>{t('publish.see')}</Link>}
    </div>
  )
}
