// Says in menus what a query says in words, and shows those words.
import { ActionIcon, Autocomplete, Button, MultiSelect, NativeSelect, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { labelNames, labelValues, metricNames } from '../../api/operate'
import { matchers, nothing, promqlOf, together, windowed, type Built, type Filter, type Matcher } from '../../lib/promql'
import { CloseIcon, PlusIcon } from '../../ui/icons'
import css from './explore.module.css'

export function Builder({ onUse }: { onUse: (query: string) => void }) {
  const { t } = useTranslation()
  const [b, setB] = useState<Built>(nothing)
  const names = useQuery(metricNames)
  const labels = useQuery(labelNames(b.metric))
  const set = (part: Partial<Built>) => setB((old) => ({ ...old, ...part }))
  const filter = (i: number, part: Partial<Filter>) => set({ filters: b.filters.map((f, at) => (at === i ? { ...f, ...part } : f)) })
  const query = promqlOf(b)
  const which = b.of === 'topk' || b.of === 'bottomk' || b.of === 'quantile'
  return (
    <div className={css.builder}>
      <Autocomplete label={t('explore.metric')} value={b.metric} onChange={(metric) => set({ metric, filters: [], by: [] })} data={names.data ?? []} limit={50} />
      {b.filters.map((f, i) => (
        <div key={i} className={css.filter} role="group" aria-label={t('explore.filter', { n: i + 1 })}>
          <NativeSelect label={t('explore.label')} value={f.label} onChange={(e) => filter(i, { label: e.currentTarget.value, value: '' })} data={['', ...(labels.data ?? [])]} />
          <NativeSelect label={t('explore.is')} value={f.is} onChange={(e) => filter(i, { is: e.currentTarget.value as Matcher })} data={[...matchers]} />
          <Value metric={b.metric} label={f.label} value={f.value} onChange={(value) => filter(i, { value })} />
          <ActionIcon variant="subtle" color="gray" size="xl" aria-label={t('explore.dropFilter', { n: i + 1 })} onClick={() => set({ filters: b.filters.filter((_, at) => at !== i) })}><CloseIcon /></ActionIcon>
        </div>
      ))}
      <div>
        <Button variant="subtle" leftSection={<PlusIcon />} disabled={!b.metric} onClick={() => set({ filters: [...b.filters, { label: '', is: '=', value: '' }] })}>{t('explore.addFilter')}</Button>
      </div>
      <div className={css.fields}>
        <NativeSelect label={t('explore.over')} value={b.over} onChange={(e) => set({ over: e.currentTarget.value as Built['over'] })} data={[{ value: '', label: t('explore.asIs') }, ...windowed]} />
        {b.over && <TextInput label={t('explore.window')} value={b.window} onChange={(e) => set({ window: e.currentTarget.value })} />}
        <NativeSelect label={t('explore.together')} value={b.of} onChange={(e) => set({ of: e.currentTarget.value as Built['of'] })} data={[{ value: '', label: t('explore.eachAlone') }, ...together]} />
        {which && <TextInput label={b.of === 'quantile' ? t('explore.quantile') : t('explore.howMany')} value={b.which} placeholder={b.of === 'quantile' ? '0.95' : '5'} onChange={(e) => set({ which: e.currentTarget.value })} />}
        {b.of && <MultiSelect label={t('explore.by')} value={b.by} onChange={(by) => set({ by })} data={labels.data ?? []} searchable />}
      </div>
      <output className={css.promql} aria-label={t('explore.promql')}>{query || t('explore.chooseMetric')}</output>
      <div><Button disabled={!query} onClick={() => onUse(query)}>{t('explore.use')}</Button></div>
    </div>
  )
}

function Value({ metric, label, value, onChange }: { metric: string; label: string; value: string; onChange: (value: string) => void }) {
  const { t } = useTranslation()
  const values = useQuery(labelValues(metric, label))
  return <Autocomplete label={t('explore.value')} value={value} onChange={onChange} data={values.data ?? []} limit={50} />
}
