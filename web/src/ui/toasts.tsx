// Short messages about how an action went. They never take the focus; screen readers hear them.
import { ActionIcon } from '@mantine/core'
import { useSyncExternalStore } from 'react'
import { useTranslation } from 'react-i18next'
import { CloseIcon } from './icons'
import { explain } from './states'
import css from './ui.module.css'

interface Toast {
  id: number
  bad: boolean
  title?: string
  text: string
}

let toasts: readonly Toast[] = []
let next = 0
const watchers = new Set<() => void>()

function change(to: readonly Toast[]): void {
  toasts = to
  for (const watcher of watchers) watcher()
}

const dismiss = (id: number): void => change(toasts.filter((t) => t.id !== id))

function show(toast: Omit<Toast, 'id'>): void {
  const id = next++
  change([...toasts.slice(-3), { ...toast, id }])
  setTimeout(() => dismiss(id), toast.bad ? 15_000 : 5000)
}

function subscribe(watcher: () => void): () => void {
  watchers.add(watcher)
  return () => void watchers.delete(watcher)
}

/** Tells how an action went. */
export function useTell() {
  const { t } = useTranslation()
  return {
    done: (text: string) => show({ bad: false, text }),
    failed: (error: unknown) => {
      const { title, detail, next: what } = explain(error, t)
      show({ bad: true, title, text: [detail, what].filter(Boolean).join(' ') })
    },
  }
}

export function Toasts() {
  const { t } = useTranslation()
  const shown = useSyncExternalStore(subscribe, () => toasts)
  return (
    <div className={css.toasts} role="status" aria-live="polite">
      {shown.map((toast) => (
        <div key={toast.id} className={css.toast} data-bad={toast.bad || undefined}>
          <div>
            {toast.title && <strong>{toast.title}</strong>}
            <p className="break">{toast.text}</p>
          </div>
          <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('close')} onClick={() => dismiss(toast.id)}><CloseIcon size={14} /></ActionIcon>
        </div>
      ))}
    </div>
  )
}
