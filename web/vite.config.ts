import react from '@vitejs/plugin-react'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

const server = process.env.PICKET_URL ?? 'http://127.0.0.1:8080'

/** The pages that somebody opens first, by the first part of their address. */
const pages: Record<string, string> = {
  '': 'Overview', incidents: 'Incidents', alerts: 'Alerts', captures: 'Captures', flows: 'flows/Flows', devices: 'Devices', plugins: 'Plugins', market: 'market/Market', machines: 'Machines', fleet: 'fleet/Fleet',
}

/** Tells early.js which scripts each page needs beside the first ones, so that they come at the same time. */
function filesOfPages(): Plugin {
  return {
    name: 'files-of-pages',
    apply: 'build',
    transformIndexHtml: {
      order: 'post',
      handler(html, { bundle, chunk: entry }) {
        const chunks = Object.values(bundle ?? {}).filter((f) => f.type === 'chunk')
        const needs = (name: string, into: Set<string>): Set<string> => {
          if (into.has(name)) return into
          into.add(name)
          for (const next of chunks.find((c) => c.fileName === name)?.imports ?? []) needs(next, into)
          return into
        }
        const first = needs(entry?.fileName ?? '', new Set())
        const files = Object.entries(pages).map(([place, page]) => {
          const chunk = chunks.find((c) => c.facadeModuleId?.endsWith(`/src/pages/${page}.tsx`))
          if (!chunk) throw new Error(`${page} is not a page of the build: mend the list in vite.config.ts`)
          return [place, [...needs(chunk.fileName, new Set())].filter((f) => !first.has(f)).map((f) => `/${f}`)]
        })
        return html.replace('<script src="/early.js"', `<script src="/early.js" data-files='${JSON.stringify(Object.fromEntries(files))}'`)
      },
    },
  }
}

export default defineConfig({
  plugins: [react(), filesOfPages()],
  build: {
    target: 'es2022',
    // An asset inlined as a data: URL would need a wider content security policy than the one in README.md.
    assetsInlineLimit: 0,
    // The polyfill is an inline script in some browsers; all browsers of the target preload modules themselves.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
    // A file is a request that somebody waits for: what many pages take from libraries is one.
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'base', test: /node_modules/, minShareCount: 40 }] } } },
  },
  server: { proxy: { '/api': { target: server, ws: true }, '/registry': server } },
  test: { include: ['src/**/*.test.{ts,tsx}'], environment: 'node' },
})
