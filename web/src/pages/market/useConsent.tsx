// Exactly the grants that are asked for, each with its reason and its risk. Nothing is ticked beforehand but what was
// granted already.
import { Checkbox } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Permission } from '../../api/types'
import '../../locales/plugins'
import { PermissionText } from '../../ui/Permissions'
import ui from '../../ui/ui.module.css'

/** Leads to the first input that is wrong, once the form has said which. */
export function pointOut(form: HTMLFormElement): void {
  const inputs = 'input, textarea, select'
  requestAnimationFrame(() => {
    // Some inputs are marked themselves, others the box around them.
    const marked = [...form.querySelectorAll<HTMLElement>('[aria-invalid=true], [data-invalid=true], [data-error=true]')]
    const first = marked.map((e) => (e.matches(inputs) ? e : e.querySelector<HTMLElement>(inputs))).find((e) => e !== null)
    first?.focus()
  })
}

/** What tells two permissions apart. */
const keyOf = (p: Permission) => JSON.stringify([p.cap, p.args ?? {}])

export function useConsent(asked: readonly Permission[]) {
  const { t } = useTranslation()
  const [granted, setGranted] = useState<ReadonlySet<string>>(new Set())
  const [refused, setRefused] = useState(false)

  /** What is granted, with `before` from earlier; undefined while something needed is missing. */
  const read = (before: readonly Permission[] = []): string[] | 'all' | undefined => {
    const missing = asked.some((p) => !p.optional && !granted.has(keyOf(p)))
    setRefused(missing)
    if (missing) return undefined
    if (asked.every((p) => granted.has(keyOf(p)))) return 'all'
    return [...before, ...asked.filter((p) => granted.has(keyOf(p)))].map((p) => p.cap)
  }
  const view = (title: string, config: Record<string, unknown>) => (
    <fieldset className={ui.group}>
      <legend>{title}</legend>
      {asked.length === 0 && <p className="dim">{t('plugin.noPermissions')}</p>}
      {asked.map((p) => {
        const key = keyOf(p)
        return (
          <Checkbox key={key} checked={granted.has(key)}
            onChange={(e) => {
              const on = e.currentTarget.checked
              setGranted((old) => {
                const next = new Set(old)
                if (on) next.add(key)
                else next.delete(key)
                return next
              })
            }}
            error={refused && !p.optional && !granted.has(key) ? t('enable.needed') : undefined}
            label={<span className={ui.lines}><PermissionText permission={p} config={config} risk />{p.optional && <em className="dim">{t('enable.optional')}</em>}</span>} />
        )
      })}
      {asked.length > 0 && <p className="dim">{t('enable.ceiling')}</p>}
    </fieldset>
  )
  return { read, view }
}
