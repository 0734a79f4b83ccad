// The inputs of a plugin's configuration, one per field of its schema (lib/configForm).
import { NativeSelect, NumberInput, PasswordInput, Switch, TagsInput, Textarea, TextInput } from '@mantine/core'
import { useTranslation } from 'react-i18next'
import { keyOf, labelOf, type Field, type FormProblem, type Values } from '../lib/configForm'
import '../locales/plugins'
import css from './ui.module.css'

interface Props {
  fields: Field[]
  values: Values
  problems: Record<string, FormProblem>
  /** What the server said about a field, by key. */
  fromServer: Record<string, string>
  /** Secrets that the server has: an empty one means "as before". */
  stored: readonly string[]
  onChange: (path: string[], value: unknown) => void
}

export function ConfigFields(props: Props) {
  return props.fields.map((f) =>
    f.kind === 'group' ? (
      <fieldset key={keyOf(f.path)} className={css.group}>
        <legend>{labelOf(f.name)}</legend>
        {f.doc && <p className="dim">{f.doc}</p>}
        <ConfigFields {...props} fields={f.fields} />
      </fieldset>
    ) : (
      <Input key={keyOf(f.path)} field={f} {...props} />
    ),
  )
}

function Input({ field: f, values, problems, fromServer, stored, onChange }: Props & { field: Field }) {
  const { t } = useTranslation()
  const key = keyOf(f.path)
  const value = values[key]
  const problem = problems[key]
  const common = {
    label: labelOf(f.name),
    description: f.doc || undefined,
    required: f.required && !(f.kind === 'secret' && stored.includes(key)),
    error: problem ? t(`form.${problem}`, { min: f.min, max: f.max }) : fromServer[key],
  }
  const change = (v: unknown) => onChange(f.path, v)
  switch (f.kind) {
    case 'switch':
      return <Switch label={labelOf(f.name)} description={f.doc || undefined} error={common.error} checked={value === true} onChange={(e) => change(e.currentTarget.checked)} />
    case 'secret':
      return <PasswordInput {...common} value={String(value ?? '')} autoComplete="off" placeholder={stored.includes(key) ? t('form.keep') : undefined} onChange={(e) => change(e.currentTarget.value)} />
    case 'integer':
    case 'number':
      return <NumberInput {...common} value={value as number | string} allowDecimal={f.kind === 'number'} onChange={change} />
    case 'choice':
      return <NativeSelect {...common} value={String(value ?? '')} data={f.fallback === undefined ? ['', ...f.choices] : f.choices} onChange={(e) => change(e.currentTarget.value)} />
    case 'list':
    case 'numbers':
      return <TagsInput {...common} value={value as string[]} data={f.choices} placeholder={formatHint(f)} splitChars={f.format === 'cidr' ? [',', ' '] : [',']} acceptValueOnBlur clearButtonProps={{ 'aria-label': t('clear') }} onChange={change} />
    case 'lines':
    case 'pairs':
    case 'json':
      return <Textarea {...common} value={String(value ?? '')} autosize minRows={f.kind === 'json' ? 3 : 2} maxRows={12} placeholder={f.kind === 'pairs' ? t('form.pairsHint') : undefined} styles={{ input: { fontFamily: 'var(--mono)' } }} spellCheck={false} onChange={(e) => change(e.currentTarget.value)} />
    default:
      return <TextInput {...common} value={String(value ?? '')} placeholder={formatHint(f)} spellCheck={false} autoComplete="off" onChange={(e) => change(e.currentTarget.value)} />
  }
}

const hints: Record<string, string> = { cidr: '192.0.2.0/24', url: 'https://…', hostport: 'host:port', duration: '30s' }

function formatHint(f: Field): string | undefined {
  return hints[f.format]
}
