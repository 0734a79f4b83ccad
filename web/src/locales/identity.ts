// The words of accounts, people, tokens and the audit log. They come with the pages that use them.
import i18next from 'i18next'
import identity from './identity.en.json'

i18next.addResourceBundle('en', 'translation', identity, true, false)
