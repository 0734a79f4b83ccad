import { QueryClient } from '@tanstack/react-query'
import { ApiError } from './http'

export const queryClient = new QueryClient({
  defaultOptions: {
    // A browser that is offline may still reach a server on its own machine or network.
    mutations: { networkMode: 'always' },
    queries: {
      networkMode: 'always',
      staleTime: 5000,
      // A refusal will not change by asking again; a server that restarts is back soon.
      retry: (failures, error) => failures < 2 && error instanceof ApiError && (error.status === 0 || error.status >= 502),
      retryDelay: 700,
      refetchOnWindowFocus: true,
    },
  },
})
