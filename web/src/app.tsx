// What every page stands in: theme, data, routes.
import { MantineProvider } from '@mantine/core'
import { QueryClientProvider } from '@tanstack/react-query'
import { RouterProvider } from '@tanstack/react-router'
import { queryClient } from './api/client'
import { router } from './router'
import { theme } from './theme/theme'
import { Toasts } from './ui/toasts'

export function App() {
  return (
    // Variables and helper classes come from files: Mantine would write <style> tags, which the policy forbids.
    <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
      <QueryClientProvider client={queryClient}>
        <RouterProvider router={router} />
        <Toasts />
      </QueryClientProvider>
    </MantineProvider>
  )
}
