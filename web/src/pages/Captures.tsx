import { ActionIcon, Button, FileButton } from '@mantine/core'
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useRef, useState, type DragEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { upload } from '../api/http'
import { captures } from '../api/queries'
import type { Capture } from '../api/types'
import { bytes, count, wholePercent } from '../lib/format'
import { CloseIcon, UploadIcon } from '../ui/icons'
import { Meter, State } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList, Problem } from '../ui/states'
import { Ago } from '../ui/Time'
import ui from '../ui/ui.module.css'
import css from './captures.module.css'

interface Upload {
  key: number
  name: string
  size: number
  progress: number
  error?: unknown
  stop: () => void
}

export function CapturesPage() {
  const { t } = useTranslation()
  const query = useInfiniteQuery(captures)
  const { uploads, add, dismiss } = useUploads()
  return (
    <Page title={t('captures.title')} lead={t('captures.lead')}>
      <DropZone onFiles={add} />
      {uploads.length > 0 && (
        <ul className={css.uploads} aria-label={t('captures.uploads')}>
          {uploads.map((u) => (
            <li key={u.key} className={css.upload}>
              <div className={css.uploadHead}>
                <span>{u.name} <span className="dim">{bytes(u.size)}</span></span>
                <ActionIcon variant="subtle" color="gray" aria-label={t('captures.stop', { name: u.name })} onClick={() => dismiss(u)}><CloseIcon /></ActionIcon>
              </div>
              {u.error ? <Problem error={u.error} /> : (
                <>
                  <Meter value={Math.round(u.progress * 100)} of={100} label={t('captures.uploading', { name: u.name })} />
                  <span className={ui.hint} role="status">{u.progress < 1 ? t('captures.sent', { part: wholePercent(u.progress) }) : t('captures.checking')}</span>
                </>
              )}
            </li>
          ))}
        </ul>
      )}
      <Panel title={t('captures.list')} flush>
        <LoadedList query={query} empty={<Empty title={t('captures.none')}>{t('captures.noneText')}</Empty>}>
          {(items) => <CaptureTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}

/** Files that are on their way. Leaving the page stops them: the server keeps nothing of half a file. */
function useUploads() {
  const client = useQueryClient()
  const [uploads, setUploads] = useState<Upload[]>([])
  const next = useRef(0)
  const running = useRef(new Set<AbortController>())
  useEffect(() => {
    const calls = running.current
    return () => {
      for (const call of calls) call.abort()
    }
  }, [])

  const add = (files: File[]) => {
    for (const file of files) {
      const key = next.current++
      const call = new AbortController()
      running.current.add(call)
      const change = (part: Partial<Upload>) => setUploads((all) => all.map((u) => (u.key === key ? { ...u, ...part } : u)))
      setUploads((all) => [...all, { key, name: file.name, size: file.size, progress: 0, stop: () => call.abort() }])
      upload<Capture>('/api/v1/captures', file, (progress) => change({ progress }), call.signal)
        .then(() => {
          setUploads((all) => all.filter((u) => u.key !== key))
          return client.invalidateQueries({ queryKey: ['captures'] })
        })
        .catch((error: unknown) => change({ error }))
        .finally(() => running.current.delete(call))
    }
  }
  const dismiss = (u: Upload) => {
    u.stop()
    setUploads((all) => all.filter((other) => other.key !== u.key))
  }
  return { uploads, add, dismiss }
}

function DropZone({ onFiles }: { onFiles: (files: File[]) => void }) {
  const { t } = useTranslation()
  const [over, setOver] = useState(false)
  const reset = useRef<() => void>(null)
  const carriesFiles = (e: DragEvent) => e.dataTransfer.types.includes('Files')
  return (
    <section
      className={css.drop}
      aria-label={t('captures.dropLabel')}
      data-over={over || undefined}
      onDragOver={(e) => {
        if (!carriesFiles(e)) return
        e.preventDefault()
        setOver(true)
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(e) => {
        e.preventDefault()
        setOver(false)
        onFiles([...e.dataTransfer.files])
      }}
    >
      <UploadIcon size={30} />
      <div>
        <strong>{t('captures.drop')}</strong>
        <p className="dim">{t('captures.dropText')}</p>
      </div>
      <FileButton multiple resetRef={reset} inputProps={{ 'aria-label': t('captures.choose') }} onChange={(files) => {
        onFiles(files)
        reset.current?.() // so that the same file can be chosen again
      }}>
        {(props) => <Button {...props}>{t('captures.choose')}</Button>}
      </FileButton>
    </section>
  )
}

function CaptureTable({ items }: { items: Capture[] }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('captures.list')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('captures.name')}</th>
          <th scope="col">{t('captures.state')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('captures.packets')}</th>
          <th scope="col" className={`${ui.medium} ${ui.right}`}>{t('captures.flows')}</th>
          <th scope="col" className={ui.right}>{t('captures.findings')}</th>
          <th scope="col" className={ui.wide}>{t('captures.added')}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((c) => (
          <tr key={c.id} className={ui.row}>
            <td>
              <Link to="/captures/$id" params={{ id: c.id }} className={ui.main}>{c.name}</Link>
              <div className={ui.sub}>{bytes(c.size)}</div>
            </td>
            <td><CaptureProgress capture={c} /></td>
            <td className={`${ui.medium} ${ui.right} num`}>{count(c.packets)}</td>
            <td className={`${ui.medium} ${ui.right} num`}>{count(c.flows)}</td>
            <td className={`${ui.right} num`}>{c.state === 'done' ? count(c.findings) : '–'}</td>
            <td className={ui.wide}><Ago at={c.created} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

export function CaptureProgress({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  if (c.state !== 'running') return <State of={c.state === 'failed' ? 'broken' : c.state} bad={c.state === 'failed'} />
  return (
    <span className={css.progress}>
      <span>{t('captures.analysing', { part: wholePercent(c.progress) })}</span>
      <Meter value={Math.round(c.progress * 100)} of={100} label={t('captures.analysing', { part: wholePercent(c.progress) })} />
    </span>
  )
}
