// How a new version reaches the machines: a few first, the rest when those did well.
import { NativeSelect, NumberInput, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useTranslation } from 'react-i18next'
import { fleet } from '../../api/market'
import '../../locales/market'
import '../../locales/plugins'
import css from './card.module.css'

export interface Canary {
  group: string
  canary_percent: number | string
  soak: string
  max_failures: number | string
}

export const firstCanary: Canary = { group: 'all', canary_percent: 10, soak: '10m', max_failures: 0 }

export function CanaryFields({ value, onChange }: { value: Canary; onChange: (value: Canary) => void }) {
  const { t } = useTranslation()
  const { data } = useQuery(fleet)
  const groups = [...new Set(['all', ...(data?.groups ?? [])])]
  const inGroup = (data?.nodes ?? []).filter((n) => n.type === 'agent' && (value.group === 'all' || n.group === value.group)).length
  const share = Number(value.canary_percent)
  const first = Math.min(inGroup, Math.max(1, Math.ceil((inGroup * share) / 100)))
  return (
    <>
      <div className={css.two}>
        <NativeSelect label={t('rollout.group')} value={value.group} onChange={(e) => onChange({ ...value, group: e.currentTarget.value })}
          data={groups.map((g) => ({ value: g, label: g === 'all' ? t('enable.agents') : g }))} />
        <NumberInput label={t('rollout.canary')} suffix=" %" min={0} max={100} allowDecimal={false} value={value.canary_percent} onChange={(v) => onChange({ ...value, canary_percent: v })} />
        <TextInput label={t('rollout.soak')} placeholder="10m" value={value.soak} onChange={(e) => onChange({ ...value, soak: e.currentTarget.value })} />
        <NumberInput label={t('rollout.maxFailures')} min={0} max={1000} allowDecimal={false} value={value.max_failures} onChange={(v) => onChange({ ...value, max_failures: v })} />
      </div>
      <p className="dim">{inGroup === 0 ? t('rollout.nobody') : t('rollout.means', { count: inGroup, first, soak: value.soak || '10m' })}</p>
    </>
  )
}
