// What the pages can change. Each returns what the server answered.
import { answer, api } from './http'
import { pluginPath } from './queries'
import type { EnableRequest, PluginInstance } from './types'

export const session = {
  setup: (token: string, username: string, password: string) =>
    answer(api.POST('/api/v1/setup', { body: { token, username, password } })),
  login: (username: string, password: string) => answer(api.POST('/api/v1/login', { body: { username, password } })),
  signin: (token: string) => answer(api.POST('/api/v1/signin', { body: { token } })),
  password: (current: string, wanted: string) =>
    answer(api.POST('/api/v1/me/password', { body: { current: current || undefined, new: wanted } })),
  logout: () => answer(api.POST('/api/v1/logout')),
}

export const alerts = {
  acknowledge: (id: string) => answer(api.POST('/api/v1/alerts/{id}/acknowledge', { params: { path: { id } } })),
  resolve: (id: string) => answer(api.POST('/api/v1/alerts/{id}/resolve', { params: { path: { id } } })),
  /** Takes one delivery back. */
  undo: (id: string, notice: string) => answer(api.POST('/api/v1/alerts/{id}/undo', { params: { path: { id } }, body: { notice } })),
}

const params = (id: string) => ({ params: { path: pluginPath(id) } })
const where = (i: PluginInstance) => ({ body: { instance: i.instance, node: i.node.id } })

export const plugins = {
  enable: (id: string, wish: EnableRequest) => answer(api.POST('/api/v1/plugins/{ns}/{name}/enable', { ...params(id), body: wish })),
  /** Everywhere. */
  disable: (id: string) => answer(api.POST('/api/v1/plugins/{ns}/{name}/disable', { ...params(id), body: {} })),
  /** Everywhere, and off the server. */
  uninstall: (id: string) => answer(api.POST('/api/v1/plugins/{ns}/{name}/uninstall', params(id))),
  restart: (id: string, i: PluginInstance) => answer(api.POST('/api/v1/plugins/{ns}/{name}/restart', { ...params(id), ...where(i) })),
  release: (id: string, i: PluginInstance) => answer(api.POST('/api/v1/plugins/{ns}/{name}/release', { ...params(id), ...where(i) })),
  upgrade: (id: string, i: PluginInstance, version: string) =>
    answer(api.POST('/api/v1/plugins/{ns}/{name}/upgrade', { ...params(id), body: { instance: i.instance, version } })),
  rollback: (id: string, i: PluginInstance) => answer(api.POST('/api/v1/plugins/{ns}/{name}/rollback', { ...params(id), ...where(i) })),
  shadow: (id: string, i: PluginInstance, version: string) =>
    answer(api.POST('/api/v1/plugins/{ns}/{name}/shadow', { ...params(id), body: { instance: i.instance, version } })),
  promote: (id: string, i: PluginInstance) => answer(api.POST('/api/v1/plugins/{ns}/{name}/promote', { ...params(id), ...where(i) })),
  dropShadow: (id: string, i: PluginInstance) => answer(api.POST('/api/v1/plugins/{ns}/{name}/drop-shadow', { ...params(id), ...where(i) })),
  test: (id: string) => answer(api.POST('/api/v1/plugins/{ns}/{name}/test', params(id))),
}

export const agents = {
  disable: (id: string) => answer(api.POST('/api/v1/agents/{id}/disable', { params: { path: { id } } })),
  enable: (id: string) => answer(api.POST('/api/v1/agents/{id}/enable', { params: { path: { id } } })),
  forget: (id: string) => answer(api.DELETE('/api/v1/agents/{id}', { params: { path: { id } } })),
  token: (name: string) => answer(api.POST('/api/v1/agents/tokens', { body: name ? { name } : {} })),
  command: (id: string, type: 'collect-now' | 'restart-plugin', args: Record<string, string> = {}) =>
    answer(api.POST('/api/v1/agents/{id}/commands', { params: { path: { id } }, body: { type, args } })),
}

