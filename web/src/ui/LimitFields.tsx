// What a plugin may use at most, where that is to differ from what its manifest states.
import { NumberInput, TextInput } from '@mantine/core'
import { useTranslation } from 'react-i18next'
import type { LimitName, LimitProblem, LimitValues } from '../lib/limits'
import '../locales/plugins'
import css from './ui.module.css'

interface Props {
  values: LimitValues
  /** What holds now where nothing is set. */
  standing: Record<LimitName, string>
  problems: readonly LimitProblem[]
  onChange: (name: LimitName, value: string | number) => void
}

export function LimitFields({ values, standing, problems, onChange }: Props) {
  const { t } = useTranslation()
  const common = (name: LimitName) => ({
    label: t(`enable.limit.${name}`),
    placeholder: standing[name] || t('enable.asStated'),
    error: problems.includes(name) ? t(`enable.limitWrong.${name}`) : undefined,
    value: values[name],
  })
  const text = (name: LimitName) => <TextInput {...common(name)} spellCheck={false} autoComplete="off" onChange={(e) => onChange(name, e.currentTarget.value)} />
  const number = (name: LimitName) => <NumberInput {...common(name)} hideControls onChange={(v) => onChange(name, v)} />
  return (
    <>
      <p className="dim">{t('enable.limitsText')}</p>
      <div className={css.fields}>
        {text('memory')}
        {number('cpu')}
        {text('deadline')}
        {number('records_per_second')}
      </div>
    </>
  )
}
