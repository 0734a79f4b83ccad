// The settings of a plugin as a form that a dialog embeds: what must be said first, the rest folded.
import { useMemo, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ApiError } from '../../api/http'
import type { JSONSchema } from '../../api/types'
import { asObject, fieldsOf, initialValues, keyOf, submit, type Field, type FormProblem, type Values } from '../../lib/configForm'
import '../../locales/plugins'
import { ConfigFields } from '../../ui/ConfigFields'
import plugins from '../plugins.module.css'

interface Settings {
  schema: JSONSchema | undefined
  config?: Record<string, unknown>
  /** Secrets that the server has. */
  stored?: readonly string[]
  /** It has settings already: only what is missing needs a look. */
  kept?: boolean
}

export function useSettings({ schema, config, stored = [], kept }: Settings) {
  const { t } = useTranslation()
  const fields = useMemo(() => fieldsOf(schema), [schema])
  const [typed, setTyped] = useState<Values>({})
  const [problems, setProblems] = useState<Record<string, FormProblem>>({})
  const values = useMemo(() => ({ ...initialValues(fields, asObject(config)), ...typed }), [fields, config, typed])
  const made = submit(fields, values, stored)

  /** Checks the inputs; undefined when something is missing or wrong. */
  const read = () => {
    setProblems(made.problems)
    return Object.keys(made.problems).length > 0 ? undefined : { config: made.config, secrets: made.secrets }
  }
  const view = (error: unknown) => {
    if (fields.length === 0) return null
    const fromServer = error instanceof ApiError ? serverProblems(error) : {}
    const inputs = { values, problems, fromServer, stored, onChange: (path: string[], value: unknown) => setTyped((v) => ({ ...v, [keyOf(path)]: value })) }
    const missing = submit(fields, initialValues(fields, asObject(config)), stored).problems
    const first = fields.filter((f) => (kept ? Object.keys(missing).some((key) => key === f.name || key.startsWith(`${f.name}.`)) : f.required || f.kind === 'secret'))
    const further = fields.filter((f) => !first.includes(f))
    const wrong = [...Object.keys(problems), ...Object.keys(fromServer)]
    const concerns = (some: Field[]) => wrong.some((key) => some.some((f) => key === f.name || key.startsWith(`${f.name}.`)))
    return (
      <>
        <ConfigFields {...inputs} fields={first} />
        {further.length > 0 && (
          <details className={plugins.further} open={concerns(further) || undefined}>
            <summary>{kept ? t('update.settingsKept', { count: further.length }) : t('enable.further', { count: further.length })}</summary>
            <div><ConfigFields {...inputs} fields={further} /></div>
          </details>
        )}
      </>
    )
  }
  return { view, read, draft: made.config }
}

/** Problems of the server by the key of the field: "body.config.tls.verify" belongs to "tls.verify". */
export function serverProblems(error: ApiError): Record<string, string> {
  return Object.fromEntries(error.fields.map((f) => [f.path.replace(/^body\./, '').replace(/^(config|secrets)\.?/, ''), f.message]))
}
