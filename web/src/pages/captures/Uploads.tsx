// Where captures are dropped, and what is on its way.
import { ActionIcon, Button, FileButton } from '@mantine/core'
import { useRef, useState, useSyncExternalStore, type DragEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { uploads } from '../../api/uploads'
import { bytes, wholePercent } from '../../lib/format'
import { isOver, type Upload } from '../../lib/uploads'
import '../../locales/captures'
import '../../locales/traffic'
import { CloseIcon, RefreshIcon, UploadIcon } from '../../ui/icons'
import { Meter, StateMark } from '../../ui/marks'
import { Panel } from '../../ui/Page'
import { Problem } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from '../captures.module.css'

export function DropZone() {
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
        uploads.add([...e.dataTransfer.files])
      }}
    >
      <UploadIcon size={30} />
      <div>
        <strong>{t('captures.drop')}</strong>
        <p className="dim">{t('captures.dropText')}</p>
      </div>
      <FileButton multiple resetRef={reset} inputProps={{ 'aria-label': t('captures.choose') }} onChange={(files) => {
        uploads.add(files)
        reset.current?.() // so that the same file can be chosen again
      }}>
        {(props) => <Button {...props}>{t('captures.choose')}</Button>}
      </FileButton>
    </section>
  )
}

/** The files that are not stored yet. Those that are leave the list: the captures below have them. */
export function Uploads() {
  const { t } = useTranslation()
  const list = useSyncExternalStore(uploads.subscribe, uploads.get)
  if (list.length === 0) return null
  const over = list.filter(isOver).length
  const sending = list.filter((u) => u.state === 'sending').length
  return (
    <Panel title={t('traffic.uploads.title')} flush
      hint={<span role="status">{t('traffic.uploads.summary', { sending, waiting: list.length - sending - over, over })}</span>}
      actions={
        <>
          {over > 0 && <Button variant="default" size="xs" onClick={() => uploads.dismissAll()}>{t('traffic.uploads.dismissAll')}</Button>}
          {over < list.length && <Button variant="default" size="xs" onClick={() => uploads.stopAll()}>{t('traffic.uploads.stopAll')}</Button>}
        </>
      }>
      <ul className={css.uploads} aria-label={t('captures.uploads')}>
        {list.map((u) => <UploadLine key={u.key} upload={u} />)}
      </ul>
    </Panel>
  )
}

function UploadLine({ upload: u }: { upload: Upload }) {
  const { t } = useTranslation()
  const name = u.name
  return (
    <li className={css.upload}>
      <div className={css.uploadHead}>
        <span>{name} <span className="dim">{bytes(u.size)}</span></span>
        {isOver(u) ? (
          <span className={css.uploadActions}>
            <ActionIcon variant="subtle" color="gray" aria-label={t('traffic.uploads.retry', { name })} title={t('traffic.uploads.retry', { name })} onClick={() => uploads.retry(u.key)}><RefreshIcon /></ActionIcon>
            <ActionIcon variant="subtle" color="gray" aria-label={t('traffic.uploads.dismiss', { name })} onClick={() => uploads.dismiss(u.key)}><CloseIcon /></ActionIcon>
          </span>
        ) : (
          <ActionIcon variant="subtle" color="gray" aria-label={t('traffic.uploads.stop', { name })} onClick={() => uploads.stop(u.key)}><CloseIcon /></ActionIcon>
        )}
      </div>
      {u.state === 'failed' ? <Problem error={u.error} />
        : u.state === 'stopped' ? <StateMark tone="off">{t('traffic.uploads.stopped')}</StateMark>
        : u.state === 'waiting' ? <StateMark tone="off">{t('traffic.uploads.waiting')}</StateMark>
        : (
          <>
            <Meter value={Math.round(u.progress * 100)} of={100} label={t('captures.uploading', { name })} />
            <span className={ui.hint}>{u.progress < 1 ? t('captures.sent', { part: wholePercent(u.progress) }) : t('captures.checking')}</span>
          </>
        )}
    </li>
  )
}
