// What the pages can change. Each returns what the server answered.
import { pluginPath } from './queries'
import { request } from './http'
import type { AgentCommand, EnableRequest, Me } from './types'

const post = <T = void>(path: string, body?: unknown) => request<T>('POST', path, { body: body ?? {} })
const segment = encodeURIComponent

export const session = {
  setup: (token: string, username: string, password: string) =>
    post<Me | undefined>('/api/v1/setup', { token, username, password }),
  login: (username: string, password: string) => post<Me | undefined>('/api/v1/login', { username, password }),
  signin: (token: string) => post<Me | undefined>('/api/v1/signin', { token }),
  logout: () => post('/api/v1/logout'),
}

export const alerts = {
  acknowledge: (id: string) => post(`/api/v1/alerts/${segment(id)}/acknowledge`),
  resolve: (id: string) => post(`/api/v1/alerts/${segment(id)}/resolve`),
}

export const plugins = {
  enable: (id: string, wish: EnableRequest) => post(`${pluginPath(id)}/enable`, wish),
  disable: (id: string, node?: string) => post(`${pluginPath(id)}/disable`, node ? { node } : {}),
  restart: (id: string, instance: string) => post(`${pluginPath(id)}/restart`, { instance }),
  release: (id: string, instance: string) => post(`${pluginPath(id)}/release`, { instance }),
  test: (id: string) => post<{ receipt?: { foreign_id?: string; url?: string } } | undefined>(`${pluginPath(id)}/test`),
}

export const agents = {
  token: (name: string) => post<{ token: string; command: string; expires?: string }>('/api/v1/agents/tokens', name ? { name } : {}),
  command: (id: string, type: string, args: Record<string, string> = {}) =>
    post<AgentCommand>(`/api/v1/agents/${segment(id)}/commands`, { type, args }),
}

export const tokens = {
  create: (name: string, role: string) => post<{ id: string; token: string }>('/api/v1/tokens', { name, role }),
  remove: (id: string) => request<void>('DELETE', `/api/v1/tokens/${segment(id)}`),
}
