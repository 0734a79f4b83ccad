// From a capture to its flows, a flow's packets and a file of them, and to a device that announced itself: on the real picketd.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const sample = fileURLToPath(new URL('../../examples/datasets/first-light/first-light.pcap', import.meta.url))
const patient = { timeout: 30_000 }
const run = promisify(execFile)

const upload = async ({ page, base }, name, buffer) => {
  await page.goto(`${base}/captures`)
  await page.locator('input[type=file]').setInputFiles([{ name, mimeType: 'application/octet-stream', buffer }])
  const row = page.getByRole('row').filter({ hasText: name })
  await row.getByText('Done').waitFor({ timeout: 60_000 })
  await row.getByRole('link', { name }).click()
  await page.getByRole('heading', { name, level: 1 }).waitFor(patient)
}

/** The packets of a pcap file, read here; tshark must read as many, where there is one. */
async function packetsOf(path) {
  const file = await readFile(path)
  const nanos = file.readUInt32LE(0) === 0xa1b23c4d
  assert.ok(nanos || file.readUInt32LE(0) === 0xa1b2c3d4, 'this is no pcap file')
  let n = 0
  for (let at = 24; at < file.length; n++) at += 16 + file.readUInt32LE(at + 8)
  const shark = await run('tshark', ['-r', path, '-T', 'fields', '-e', 'frame.number']).catch((error) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (shark) assert.equal(shark.stdout.trim().split('\n').length, n, 'tshark reads another number of packets')
  return n
}

/** A capture leads to its flows, a filter to one of them, the flow to its packets and to a file of them; a view keeps the filter. */
export async function explore({ page, base }) {
  await upload({ page, base }, 'explored.pcap', await readFile(sample))
  await page.getByRole('link', { name: 'Explore its flows' }).click()
  await page.waitForURL((u) => u.pathname === '/flows' && u.searchParams.has('capture'), patient)
  await page.locator('a[data-row]').first().waitFor(patient)
  await page.keyboard.press('/')
  await page.keyboard.type('app:http')
  await page.keyboard.press('Enter')
  await page.waitForURL((u) => u.searchParams.get('app') === 'http', patient)
  const filtered = page.url()
  await page.getByRole('list', { name: 'Filters that apply' }).getByText('HTTP').waitFor(patient)
  const flow = page.getByRole('row').filter({ hasText: 'HTTP' }).locator('a[data-row]').first()
  await flow.waitFor(patient)
  await flow.click()
  await page.getByRole('heading', { level: 1, name: /→/ }).waitFor(patient)
  const said = page.getByRole('region', { name: 'What was said', exact: true })
  await said.getByText(/GET |POST /).first().waitFor(patient)

  // A fact leads to the packet that completed it.
  await said.locator('summary').first().click()
  await said.locator('dd a').first().click()
  await page.getByRole('heading', { name: 'Packets by number', level: 1 }).waitFor(patient)
  await page.getByRole('button', { name: /^Packet \d/ }).first().waitFor(patient)
  await page.goBack()

  await page.getByRole('button', { name: 'Show its packets' }).click()
  await page.getByRole('button', { name: /^Packet \d/ }).first().waitFor(patient)
  const shown = await page.getByRole('button', { name: /^Packet \d/ }).count()
  const file = page.waitForEvent('download', patient)
  await page.getByRole('link', { name: 'Download its packets' }).click()
  const packets = await packetsOf(await (await file).path())
  assert.ok(shown > 0 && (shown === packets || (shown === 50 && packets > 50)), `${shown} packets on the page, ${packets} in the file`)

  await page.goto(filtered)
  await page.getByRole('button', { name: 'Saved views' }).click()
  const menu = page.getByRole('dialog', { name: 'Saved views' })
  await menu.getByLabel('Name').fill('Web of the sample')
  await menu.getByRole('button', { name: 'Save this view' }).click()
  await menu.getByRole('link', { name: 'Web of the sample' }).waitFor(patient)
  await page.goto(`${base}/flows`)
  await page.getByRole('button', { name: 'Saved views' }).click()
  await menu.getByRole('link', { name: 'Web of the sample' }).click()
  await page.waitForURL(filtered, patient)
  await page.locator('a[data-row]').first().waitFor(patient)

  await page.getByRole('button', { name: 'Export' }).click()
  await page.getByRole('checkbox', { name: 'With all features' }).check()
  const table = page.waitForEvent('download', patient)
  await page.getByRole('button', { name: 'As CSV' }).click()
  const head = (await readFile(await (await table).path(), 'utf8')).split('\n')[0].split(',')
  for (const column of ['first_packets', 'fwd_packets', 'rev_packets', 'name', 'fwd_entropy']) assert.ok(head.includes(column), `the export has no column ${column}: ${head}`)
}

const mac = (text) => Buffer.from(text.replaceAll(':', ''), 'hex')
const tlv = (type, ...parts) => {
  const value = Buffer.concat(parts.map((p) => Buffer.from(p)))
  const head = Buffer.alloc(2)
  head.writeUInt16BE((type << 9) | value.length)
  return Buffer.concat([head, value])
}

/** A capture of one LLDP announcement (IEEE 802.1AB): chassis, port, time to live, name, description, address. */
function announcement(name, address, from) {
  const frame = Buffer.concat([
    mac('01:80:c2:00:00:0e'), mac(from), Buffer.from([0x88, 0xcc]),
    tlv(1, [4], mac(from)), tlv(2, [5], 'port 7'), tlv(3, [0, 120]), tlv(5, name), tlv(6, 'A switch made for a test'),
    tlv(8, [5, 1], address.split('.').map(Number), [2, 0, 0, 0, 7, 0]), tlv(0, []),
  ])
  const head = Buffer.alloc(24)
  for (const [value, at] of [[0xa1b2c3d4, 0], [262_144, 16], [1, 20]]) head.writeUInt32LE(value, at)
  head.writeUInt16LE(2, 4)
  head.writeUInt16LE(4, 6)
  const record = Buffer.alloc(16)
  for (const [value, at] of [[1_790_000_000, 0], [frame.length, 8], [frame.length, 12]]) record.writeUInt32LE(value, at)
  return Buffer.concat([head, record, frame])
}

/** Passive discovery is enabled without an interval, for it asks nobody; a capture below IP names a device. */
export async function heard({ page, base }) {
  await page.goto(`${base}/plugins/picket/passive`)
  await page.getByRole('heading', { level: 1 }).waitFor(patient)
  // Where it is enabled already its settings are the same dialog.
  await page.getByRole('button', { name: /^(Enable|Change)$/ }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Where it runs').waitFor(patient)
  assert.equal(await dialog.getByLabel('Every').count(), 0, 'it is asked how often it should watch')
  if (await dialog.getByRole('button', { name: 'Enable', exact: true }).isVisible()) {
    for (const box of await dialog.getByRole('checkbox').all()) await box.check()
    await dialog.getByRole('button', { name: 'Enable', exact: true }).click()
    await page.getByText('Ready').first().waitFor({ timeout: 60_000 })
  } else await dialog.getByRole('button', { name: 'Cancel' }).click()
  await upload({ page, base }, 'disc-lldp.pcap', announcement('switch-of-the-test', '192.0.2.77', '02:00:5e:00:53:07'))
  const protocols = page.getByRole('region', { name: 'Protocols', exact: true })
  await protocols.getByRole('link', { name: /LLDP .*switch-of-the-test/ }).waitFor(patient)
  for (let i = 0; ; i++) {
    await page.goto(`${base}/devices`)
    await page.getByRole('heading', { name: 'Devices', level: 1 }).waitFor(patient)
    await page.getByRole('row').nth(1).waitFor(patient)
    for (const more = page.getByRole('button', { name: 'Show more' }); await more.isVisible(); await page.waitForTimeout(300)) await more.click()
    if (await page.getByText('switch-of-the-test').first().isVisible()) break
    assert.ok(i < 30, 'the device is not on the page')
    await page.waitForTimeout(500)
  }
  await page.getByRole('link', { name: /switch-of-the-test/ }).first().click()
  await page.getByText('picket/passive').first().waitFor(patient)
}
