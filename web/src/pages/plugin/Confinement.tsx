import { useTranslation } from 'react-i18next'
import type { Confinement as Report, Explanation } from '../../api/types'
import '../../locales/plugins'
import { StateMark, type Tone } from '../../ui/marks'
import { Fact, Facts, Panel } from '../../ui/Page'
import css from '../plugins.module.css'

const tones: Record<string, Tone> = { A: 'good', B: 'good', C: 'warn' }

export function LevelMark({ level }: { level: string }) {
  const { t } = useTranslation()
  return <StateMark tone={tones[level] ?? 'off'}>{t('plugin.level', { level })}</StateMark>
}

/** How far the process is confined, what that means, and what is missing. */
export function Confinement({ explanation: e }: { explanation: Explanation }) {
  const { t } = useTranslation()
  const c = e.release.confinement
  return (
    <Panel title={t('plugin.confinement')} hint={c && <LevelMark level={c.level} />}>
      {c ? <Reached report={c} /> : <p className="dim">{e.incomplete ? t('plugin.onItsMachine') : t('plugin.noProcess')}</p>}
    </Panel>
  )
}

function Reached({ report: c }: { report: Report }) {
  const { t } = useTranslation()
  const level = ['A', 'B', 'C'].includes(c.level) ? (c.level as 'A' | 'B' | 'C') : null
  return (
    <>
      {level && <p>{t(`plugin.levels_mean.${level}`)}</p>}
      <ConfinementFacts report={c} />
      <Points title={t('plugin.missing')} items={c.missing} />
      <Points title={t('plugin.unenforced')} items={c.unenforced} bad />
      <Points title={t('plugin.whyNotMore')} items={c.reasons} />
    </>
  )
}

export function ConfinementFacts({ report: c }: { report: Report }) {
  const { t } = useTranslation()
  return (
    <div className={css.confined}>
      <Facts>
        <Fact name={t('plugin.view')}>{t(`plugin.views.${c.view}` as 'plugin.views.minimal', { defaultValue: c.view })}</Fact>
        <Fact name={t('plugin.namespaces')}>{c.namespaces?.join(', ') || t('plugin.none')}</Fact>
        <Fact name="Landlock">{c.landlock_abi ? t('plugin.landlock', { abi: c.landlock_abi }) : t('plugin.none')}</Fact>
        <Fact name="seccomp">{c.seccomp_filters ? t('plugin.filters', { count: c.seccomp_filters }) : t('plugin.none')}</Fact>
        <Fact name={t('plugin.cgroup')}>{c.cgroup}</Fact>
        <Fact name={t('plugin.user')}>{c.uid}</Fact>
        {c.limits && c.limits.length > 0 && <Fact name={t('plugin.enforcedBy')}><ul>{c.limits.map((l) => <li key={l}>{l}</li>)}</ul></Fact>}
      </Facts>
    </div>
  )
}

function Points({ title, items, bad }: { title: string; items?: string[] | null; bad?: boolean }) {
  if (!items || items.length === 0) return null
  return (
    <div className={css.points} data-bad={bad || undefined}>
      <h3>{title}</h3>
      <ul>{items.map((text) => <li key={text}>{text}</li>)}</ul>
    </div>
  )
}
