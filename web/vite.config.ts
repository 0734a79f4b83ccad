import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

const server = process.env.PICKET_URL ?? 'http://127.0.0.1:8080'

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'es2022',
    // An asset inlined as a data: URL would need a wider content security policy than the one in README.md.
    assetsInlineLimit: 0,
    // The polyfill is an inline script in some browsers; all browsers of the target preload modules themselves.
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    manifest: true,
  },
  server: { proxy: { '/api': { target: server, ws: true }, '/registry': server } },
  test: { include: ['src/**/*.test.{ts,tsx}'], environment: 'node' },
})
