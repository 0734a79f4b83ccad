// The words of devices. They come with the pages that use them.
import i18next from 'i18next'
import devices from './devices.en.json'

i18next.addResourceBundle('en', 'translation', devices, true, false)
