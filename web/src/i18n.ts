// All words of the pages are in locales/. English is the source; a missing key is a type error.
import { use as extend } from 'i18next'
import { initReactI18next } from 'react-i18next'
import en from './locales/en.json'
import type commands from './locales/commands.en.json'
import type identity from './locales/identity.en.json'
import type incident from './locales/incident.en.json'
import type machines from './locales/machines.en.json'
import type market from './locales/market.en.json'
import type operate from './locales/operate.en.json'
import type rules from './locales/rules.en.json'
import type traffic from './locales/traffic.en.json'

// locales/commands.ts, locales/identity.ts, locales/incident.ts, locales/machines.ts, locales/market.ts, locales/operate.ts, locales/rules.ts and locales/traffic.ts add their parts where a page needs them.
type English = typeof en
type OfMachines = typeof machines
type OfTheMarket = typeof market
type OfTraffic = typeof traffic
type OfIncidents = typeof incident
type OfRules = typeof rules
type OfIdentity = typeof identity
type OfCommands = typeof commands
type OfOperating = typeof operate
interface Words extends English, OfTheMarket, OfTraffic, OfIncidents, OfRules, OfIdentity, OfMachines, OfOperating, OfCommands {}

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
