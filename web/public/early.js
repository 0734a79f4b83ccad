// Runs before anything else. It sets the colours, so that a dark page never flashes white, and asks for what the page will
// need while its scripts are still on their way: src/api/early.ts takes the answers.
(function () {
  var wanted = null
  try {
    wanted = localStorage.getItem('mantine-color-scheme-value') // Mantine reads and writes the same key
  } catch {
    // Storage may be forbidden; the system's choice holds then.
  }
  var dark = wanted === 'dark' || (wanted !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.setAttribute('data-mantine-color-scheme', dark ? 'dark' : 'light')

  var place = location.pathname.split('/')[1]
  if (place === 'signin' || place === 'setup') return
  var asked = { '/api/v1/me': null, '/api/v1/overview': null }
  if (location.pathname === '/market' && !location.search) asked['/api/v1/market/front'] = null
  for (var path in asked) {
    asked[path] = fetch(path, { headers: { Accept: 'application/json' } })
    asked[path].catch(function () {}) // whoever takes it meets the failure
  }
  window.picketEarly = asked

  // The build says which files belong to a page.
  var files = JSON.parse(document.currentScript.dataset.files || '{}')[location.pathname === '/' + place ? place : null] || []
  files.forEach(function (file) {
    var link = document.createElement('link')
    link.rel = 'modulepreload'
    link.href = file
    document.head.append(link)
  })
})()
