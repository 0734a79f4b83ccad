import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { CheckIcon, CopyIcon } from './icons'
import css from './ui.module.css'

/** Text to take along. Selecting works too, where the browser refuses the clipboard (plain HTTP to another host). */
export function Copy({ text, label, line }: { text: string; label: string; /** One line, the rest by scrolling. */ line?: boolean }) {
  const { t } = useTranslation()
  const [state, setState] = useState<'idle' | 'done' | 'failed'>('idle')
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setState('done')
    } catch {
      setState('failed')
    }
    setTimeout(() => setState('idle'), 3000)
  }
  return (
    <div className={css.copy} data-line={line || undefined}>
      <pre tabIndex={0} aria-label={label}>{text}</pre>
      <button type="button" onClick={() => void copy()} aria-label={t('copy.button', { what: label })}>
        {state === 'done' ? <CheckIcon /> : <CopyIcon />}
        <span role="status">{state === 'done' ? t('copy.done') : state === 'failed' ? t('copy.failed') : t('copy.copy')}</span>
      </button>
    </div>
  )
}
