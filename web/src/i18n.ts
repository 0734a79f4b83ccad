// All words of the pages are in locales/. English is the source; a missing key is a type error.
import { use as extend } from 'i18next'
import { initReactI18next } from 'react-i18next'
import en from './locales/en.json'
import type alerts from './locales/alerts.en.json'
import type captures from './locales/captures.en.json'
import type commands from './locales/commands.en.json'
import type devices from './locales/devices.en.json'
import type groups from './locales/groups.en.json'
import type identity from './locales/identity.en.json'
import type inbox from './locales/inbox.en.json'
import type incident from './locales/incident.en.json'
import type machines from './locales/machines.en.json'
import type market from './locales/market.en.json'
import type metricrules from './locales/metricrules.en.json'
import type operate from './locales/operate.en.json'
import type plugins from './locales/plugins.en.json'
import type rules from './locales/rules.en.json'
import type tenants from './locales/tenants.en.json'
import type traffic from './locales/traffic.en.json'

// en.json has what the first page says. Every other area has a file of words and a module beside it that adds them
// (locales/devices.ts); the code that says such words imports that module, so that they come with it. A new area is
// such a pair and a line here; locales/words.test.ts finds a page that forgot its import.
type Words = typeof en & typeof alerts & typeof captures & typeof commands & typeof devices & typeof groups & typeof identity & typeof inbox & typeof incident & typeof machines & typeof market & typeof metricrules & typeof operate & typeof plugins & typeof rules & typeof tenants & typeof traffic

declare module 'i18next' {
  interface CustomTypeOptions {
    defaultNS: 'translation'
    resources: { translation: Words }
  }
}

export async function startI18n(): Promise<void> {
  await extend(initReactI18next).init({
    lng: 'en',
    fallbackLng: 'en',
    resources: { en: { translation: en } },
    // React escapes; escaping twice would show entities.
    interpolation: { escapeValue: false },
  })
}
