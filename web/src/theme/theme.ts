// The look as Mantine sees it. Colours of severities and charts are in base.css, because only our own CSS uses them.
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core'

/** Verdigris: the accent. Nothing that means "bad" is near it, and it stays apart from blue for most eyes. */
const verdigris: MantineColorsTuple = [
  '#eaf6f4', '#d5ebe8', '#abd8d1', '#7ec3ba', '#58b1a6', '#37a294', '#1b8f82', '#0c776c', '#0a635b', '#064e48',
]

/** Greys with a breath of green; index 0 is text on dark, 7 the page, 9 the deepest. */
const dark: MantineColorsTuple = [
  '#dbe4e0', '#bccac4', '#98a8a1', '#6f807a', '#33413c', '#26322e', '#18211e', '#101715', '#0b100f', '#070a09',
]

const gray: MantineColorsTuple = [
  '#f6f8f6', '#eef1ee', '#e2e7e3', '#d3dad5', '#b9c3bd', '#95a29b', '#6d7b74', '#54625b', '#36423c', '#1a2420',
]

export const theme = createTheme({
  primaryColor: 'verdigris',
  primaryShade: { light: 8, dark: 7 },
  colors: { verdigris, dark, gray },
  black: '#18211d',
  fontFamily: "'IBM Plex Sans Variable', system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif",
  fontFamilyMonospace: "'IBM Plex Mono', ui-monospace, 'Cascadia Mono', Menlo, 'Noto Sans Mono', monospace",
  defaultRadius: 'sm',
  cursorType: 'pointer',
  respectReducedMotion: true,
  fontSizes: { xs: '0.75rem', sm: '0.8125rem', md: '0.875rem', lg: '1rem', xl: '1.25rem' },
  components: {
    // Locking the scroll would add a <style> tag, which the content security policy forbids.
    Modal: { defaultProps: { lockScroll: false, overlayProps: { backgroundOpacity: 0.45 }, transitionProps: { duration: 120 } } },
    Drawer: { defaultProps: { lockScroll: false, overlayProps: { backgroundOpacity: 0.45 } } },
    Button: { defaultProps: { size: 'sm' } },
    TextInput: { defaultProps: { size: 'sm' } },
    Tooltip: { defaultProps: { openDelay: 300, multiline: true, maw: 320, events: { hover: true, focus: true, touch: true } } },
  },
})

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#f4f6f3',
    '--mantine-color-text': '#18211d',
    '--mantine-color-dimmed': '#55635c',
    '--mantine-color-placeholder': '#66746d',
    '--mantine-color-default-border': '#cdd5cf',
    '--mantine-color-error': '#b3261e',
    '--mantine-color-anchor': '#0a635b',
  },
  dark: {
    '--mantine-color-text': '#dbe4e0',
    '--mantine-color-dimmed': '#98a8a1',
    '--mantine-color-placeholder': '#84948d',
    '--mantine-color-default-border': '#33413c',
    '--mantine-color-error': '#ff8f85',
    '--mantine-color-anchor': '#6fc6bb',
  },
})
