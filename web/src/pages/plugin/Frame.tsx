// The page that a plugin brings along. It is a stranger's: it runs in a frame with an origin of its own, its policy lets
// it reach nothing, and it sees the values of the plugin's own metrics and no more. See lib/pluginFrame.
import { useComputedColorScheme } from '@mantine/core'
import { useEffect, useMemo, useRef, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { pluginPath } from '../../api/queries'
import type { Plugin } from '../../api/types'
import { useManySeries } from '../../api/useSeries'
import { frameData, maxFrameMetrics, readFrameMessage } from '../../lib/pluginFrame'
import '../../locales/plugins'
import { Panel } from '../../ui/Page'
import { useRange } from '../../ui/Range'
import css from '../plugins.module.css'

/** A frame that talks without end is heard this often. */
const listenEvery = 100

export function Frame({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const title = t('plugin.frame', { name: p.title || p.id })
  const range = useRange('1h', title)
  const frame = useRef<HTMLIFrameElement>(null)
  const { asked, height } = useFrameMessages(frame)
  const wishes = useMemo(() => p.metrics.slice(0, maxFrameMetrics).map((metric) => ({ metric, plugin: p.id })), [p.metrics, p.id])
  const { data: answers } = useManySeries(wishes, range.seconds)
  const theme = useComputedColorScheme('light')
  const data = useMemo(() => frameData(theme, answers), [theme, answers])
  useEffect(() => {
    // Its origin is opaque, so no name of an origin would fit; the policy of this page keeps others out of the frame.
    if (asked > 0) frame.current?.contentWindow?.postMessage(data, '*')
  }, [asked, data])
  const { ns, name } = pluginPath(p.id)
  return (
    <Panel title={title} hint={t('plugin.frameHint')} actions={range.control}>
      <iframe ref={frame} className={css.frame} title={title} sandbox="allow-scripts" referrerPolicy="no-referrer" style={{ height }}
        src={`/api/v1/plugins/${encodeURIComponent(ns)}/${encodeURIComponent(name)}/page`} />
    </Panel>
  )
}

/** How often the frame has asked for data, and how high it would like to be. */
function useFrameMessages(frame: React.RefObject<HTMLIFrameElement | null>) {
  const [heard, setHeard] = useState({ asked: 0, height: 440 })
  useEffect(() => {
    let ready = false
    let height: number | null = null
    let timer: number | undefined
    const take = () => {
      timer = undefined
      const [again, high] = [ready, height]
      ready = false
      height = null
      setHeard((h) => ({ asked: h.asked + (again ? 1 : 0), height: high ?? h.height }))
    }
    const hear = (event: MessageEvent) => {
      if (!frame.current || event.source !== frame.current.contentWindow) return
      const message = readFrameMessage(event.data)
      if (!message) return
      if (message.type === 'ready') ready = true
      else height = message.height
      timer ??= window.setTimeout(take, listenEvery)
    }
    window.addEventListener('message', hear)
    return () => {
      window.removeEventListener('message', hear)
      window.clearTimeout(timer)
    }
  }, [frame])
  return heard
}
