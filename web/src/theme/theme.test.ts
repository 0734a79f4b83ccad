import { convertCssVariables, defaultCssVariablesResolver, mergeMantineTheme, DEFAULT_THEME } from '@mantine/core'
import { expect, it } from 'vitest'
import { theme, variables } from './theme'

// Mantine would write these in a <style> tag at run time, which the content security policy forbids. After a change of
// the theme: npm run theme.
it('variables.css is what the theme says', async () => {
  const full = mergeMantineTheme(DEFAULT_THEME, theme)
  const base = defaultCssVariablesResolver(full)
  const own = variables(full)
  const css = convertCssVariables(
    {
      variables: { ...base.variables, ...own.variables },
      light: { ...base.light, ...own.light },
      dark: { ...base.dark, ...own.dark },
    },
    ':root',
  )
  const lines = css.replace(/\{/g, '{\n').replace(/;/g, ';\n').replace(/\}/g, '}\n')
  await expect(`/* Generated from theme.ts by "npm run theme". */\n${lines}`).toMatchFileSnapshot('variables.css')
})
