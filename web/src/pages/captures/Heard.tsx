// What was heard in a capture that has no flows: neighbours that announce themselves below IP.
import { useQueries } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { captureFacts } from '../../api/traffic'
import type { Capture } from '../../api/types'
import { say } from '../../lib/facts'
import { heard } from '../../lib/heard'
import { count } from '../../lib/format'
import { layersOf } from '../../lib/quality'
import { Loading, Problem } from '../../ui/states'
import css from '../captures.module.css'

/** The kinds of facts that need no IP. */
const kinds = ['arp', 'messages', 'ot'] as const

export function Heard({ capture: c }: { capture: Capture }) {
  const { t } = useTranslation()
  const queries = useQueries({ queries: kinds.map((kind) => ({ ...captureFacts(c.id, kind), enabled: !!c.quality?.facts })) })
  const layers = c.quality ? layersOf(c.quality) : []
  if (!c.quality?.facts) return <p className="dim">{layers.length > 0 ? t('traffic.quality.onlyLayers') : t('traffic.charts.empty')}</p>
  const failed = queries.find((q) => q.isError)
  if (failed) return <Problem error={failed.error} retry={() => void failed.refetch()} />
  if (queries.some((q) => q.isPending)) return <Loading rows={3} />
  const facts = queries.flatMap((q) => q.data?.items ?? [])
  const lines = heard(facts, (f) => say({ ...f, fields: f.fields as Record<string, unknown> }, t))
  return (
    <div className={css.heard}>
      <p className="dim">{t('traffic.quality.noFlows', { n: count(c.quality.facts) })}</p>
      <ul>
        {lines.map((line) => (
          <li key={line.text}>
            <Link to="/captures/$id/packets" params={{ id: c.id }} search={{ numbers: line.packets }} className="break">{line.text}</Link>
            {line.times > 1 && <span className="dim num"> × {count(line.times)}</span>}
          </li>
        ))}
      </ul>
    </div>
  )
}
