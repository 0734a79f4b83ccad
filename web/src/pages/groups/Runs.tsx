// What a target runs: each plugin with its settings, where they were said, and what they count more than.
import { Button } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import type { Config } from '../../api/groups'
import { pluginPath } from '../../api/queries'
import { settingsOf, whose, type Configured } from '../../lib/groups'
import { Empty, type Translate } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from './groups.module.css'

interface Props {
  config: Config
  onChange?: (plugin: Configured) => void
  onRemove?: (plugin: Configured) => void
}

export function Runs({ config: c, onChange, onRemove }: Props) {
  const { t } = useTranslation()
  if (c.runs.length === 0) return <Empty title={t('configs.nothing')} action={<Link to="/plugins">{t('nav.plugins')}</Link>}>{t('configs.nothingText')}</Empty>
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('configs.runs')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('configs.plugin')}</th>
          <th scope="col">{t('configs.from')}</th>
        </tr>
      </thead>
      <tbody>
        {c.runs.map((p) => {
          const here = p.from === c.target
          return (
            <tr key={p.instance}>
              <td>
                <Link to="/plugins/$ns/$name" params={pluginPath(p.plugin)} className={ui.main}>{p.plugin}</Link>
                <div className={ui.sub}><span className="num">{p.version}</span>{p.interval && <> · {t('configs.every', { interval: p.interval })}</>}</div>
                <Settings plugin={p} />
              </td>
              <td>
                {here ? <strong>{t('configs.here')}</strong> : <From target={p.from} />}
                {p.over && p.over.length > 0 && <div className={ui.sub}>{t('configs.over', { names: p.over.map((o) => saidFor(o, t)).join(', ') })}</div>}
                {onChange && (
                  <div className={css.deeds}>
                    <Button size="compact-xs" variant="default" onClick={() => onChange(p)} aria-label={here ? t('configs.changeOf', { plugin: p.plugin }) : t('configs.otherwiseOf', { plugin: p.plugin })}>{here ? t('configs.change') : t('configs.otherwise')}</Button>
                    {here && onRemove && <Button size="compact-xs" variant="default" onClick={() => onRemove(p)} aria-label={t('configs.removeOf', { plugin: p.plugin })}>{t('configs.remove')}</Button>}
                  </div>
                )}
              </td>
            </tr>
          )
        })}
      </tbody>
    </table>
  )
}

export function saidFor(target: string, t: Translate): string {
  const who = whose(target)
  return who.of === 'all' ? t('configs.forAll') : who.of === 'group' ? t('configs.forGroup', { name: who.name }) : t('configs.forMachine')
}

function From({ target }: { target: string }) {
  const { t } = useTranslation()
  return <Link to="/config/$target" params={{ target }}>{saidFor(target, t)}</Link>
}

function Settings({ plugin: p }: { plugin: Configured }) {
  const { t } = useTranslation()
  const settings = settingsOf(p)
  if (settings.length === 0) return null
  return (
    <details className={css.settings}>
      <summary>{t('configs.unfold', { count: settings.length })}</summary>
      <dl className={css.pairs}>
        {settings.map((s) => <div key={s.path} className={css.pair}><dt>{s.path}</dt><dd>{s.value ?? t('configs.secret')}</dd></div>)}
      </dl>
    </details>
  )
}
