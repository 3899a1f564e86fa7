import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { redis } from '@posthorn/redis'
import { expect, it } from 'vitest'
import { settingsOf } from '../src/options.ts'

it('takes user, password and database from the URL, and what stands beside it first', async () => {
  const settings = settingsOf({ url: 'redis://ada:p%40ss@one:6380/3' })
  expect(settings).toMatchObject({ host: 'one', port: 6380, username: 'ada', db: 3, secure: false })
  expect(await settings.password()).toBe('p@ss')
  expect(await settingsOf({ url: 'redis://ada:p%40ss@one', password: 'other' }).password()).toBe('other')
})

it('asks again for what may be replaced', async () => {
  let n = 0
  const pem = '-----BEGIN CERTIFICATE-----'
  const settings = settingsOf({ password: () => `secret ${++n}`, tls: () => ({ ca: `${pem} ${++n}`, serverName: 'one' }) })
  expect([await settings.password(), await settings.password()]).toEqual(['secret 1', 'secret 2'])
  expect([await settings.tls(), settings.secure]).toEqual([{ ca: `${pem} 3`, servername: 'one' }, true])
  await expect(settingsOf({ password: () => 7 as never }).password()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

it('reads files anew, and says at once which cannot be read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-options-'))
  try {
    const ca = join(folder, 'ca.pem')
    expect(() => redis({ tls: { ca } })).toThrow('"tls.ca" is neither a text in PEM nor the path of a file')
    writeFileSync(ca, 'one')
    const settings = settingsOf({ tls: { ca } })
    expect(await settings.tls()).toEqual({ ca: 'one' })
    writeFileSync(ca, 'two')
    expect(await settings.tls()).toEqual({ ca: 'two' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

it('shows nothing of a key that lost its first line', () => {
  const key = 'MIIEvQIBADANBgkq\n-----END PRIVATE KEY-----'
  expect(() => redis({ tls: { key } })).toThrow(expect.objectContaining({ message: expect.not.stringContaining('MIIEvQ') }))
})
