import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { inspect, promisify } from 'node:util'
import { loadConfig } from '@posthorn/core/config'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { isMessagingError } from '../src/errors.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posthorn-config-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const write = (name: string, content: unknown): Promise<void> =>
  writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
const load = (env: Readonly<Record<string, string>> = {}, name?: string): ReturnType<typeof loadConfig> =>
  loadConfig(name, { cwd: folder, env })
async function refusal(run: () => Promise<unknown>): Promise<string> {
  try {
    return `accepted ${inspect(await run())}`
  } catch (error) {
    if (isMessagingError(error, 'INVALID_ARGUMENT')) return error.message
    throw error
  }
}

describe('secrets of a configuration', () => {
  it('are taken from variables and files that the file names, for any text in a target', async () => {
    await mkdir(join(folder, 'secrets'))
    await write('secrets/password', 'from a file\n')
    await write('secrets/ca.pem', '-----BEGIN CERTIFICATE-----\r\nx\r\n')
    const tls = { ca: { file: 'secrets/ca.pem' } }
    await write('posthorn.config.json', {
      brokers: { main: { url: 'amqps://app@mq', rabbitmq: { username: { env: 'MQ_USER' }, password: { file: 'secrets/password' }, tls } } },
    })
    expect(await load({ MQ_USER: 'ada' })).toEqual({
      url: 'amqps://app@mq',
      rabbitmq: { username: 'ada', password: 'from a file', tls: { ca: '-----BEGIN CERTIFICATE-----\r\nx' } },
    })
  })

  it('may be a whole URL', async () => {
    await write('posthorn.config.json', { brokers: { main: { url: { env: 'SHOP_BROKER' }, redis: { leaseMs: 5000 } } } })
    expect(await load({ SHOP_BROKER: 'redis://:sesame-7@h' })).toEqual({ url: 'redis://:sesame-7@h', redis: { leaseMs: 5000 } })
  })

  it('of a broker are looked up only when it is chosen', async () => {
    await write('posthorn.config.json', {
      default: 'main',
      brokers: { main: 'redis://h', audit: { url: { file: '/nowhere/url' } } },
    })
    expect(await load()).toBe('redis://h')
    expect(await refusal(() => load({}, 'audit'))).toContain('"brokers.audit.url": the file /nowhere/url cannot be read: there is none')
    expect(await load({ POSTHORN_AUDIT_URL: 'kafka://k' }, 'audit')).toEqual({ url: 'kafka://k' })
  })

  it('come from POSTHORN_<NAME>_PASSWORD, _USERNAME and _URL, or from the file that the same with _FILE names', async () => {
    await write('password', 'from a file\n')
    await write('url', 'redis://elsewhere\n')
    expect(await load({ POSTHORN_BROKER: 'main', POSTHORN_MAIN_URL: 'redis://h', POSTHORN_MAIN_PASSWORD_FILE: 'password' })).toEqual({
      url: 'redis://h',
      redis: { password: 'from a file' },
    })
    await write('posthorn.config.json', { brokers: { main: { url: 'redis://h', redis: { leaseMs: 5000 } } } })
    expect(await load({ POSTHORN_MAIN_USERNAME: 'ada', POSTHORN_MAIN_PASSWORD: 'pw', POSTHORN_MAIN_URL_FILE: join(folder, 'url') })).toEqual({
      url: 'redis://elsewhere',
      redis: { leaseMs: 5000, username: 'ada', password: 'pw' },
    })
  })

  it('of a URL in the environment win over those that the file names', async () => {
    await write('posthorn.config.json', { brokers: { main: { url: 'redis://h', redis: { leaseMs: 5000, password: { env: 'NOT_HERE' } } } } })
    expect(await load({ POSTHORN_MAIN_URL: 'redis://:pw@other' })).toEqual({ url: 'redis://:pw@other', redis: { leaseMs: 5000 } })
  })

  it('mean nothing to the embedded broker', async () => {
    expect(await load({ POSTHORN_BROKER: 'main', POSTHORN_MAIN_URL: 'memory:', POSTHORN_MAIN_PASSWORD: 'pw' })).toBe('memory:')
  })

  it.each<readonly [string, string, unknown, string]>([
    ['a URL in JSON', 'json', { brokers: { main: 'amqp://ada:canary-77@mq' } }, '"brokers.main" holds a secret'],
    ['an option in JSON', 'json', { brokers: { main: { url: 'redis://h', redis: { password: 'canary-77' } } } }, '"brokers.main.redis.password" holds a secret'],
    [
      'a private key in JSON',
      'json',
      { brokers: { main: { url: 'kafka://h', kafka: { tls: { key: '-----BEGIN PRIVATE KEY-----canary-77' } } } } },
      '"brokers.main.kafka.tls.key" holds a secret',
    ],
    ['a URL in a module', 'mjs', `export default { brokers: { main: 'amqp://ada:canary-77@mq' } }`, '"brokers.main" holds a secret'],
    [
      'an option in a module',
      'mjs',
      `export default { brokers: { main: { url: 'redis://h', redis: { password: "canary-77" } } } }`,
      '"brokers.main.redis.password" holds a secret',
    ],
  ])('that are written out as %s are refused, and not shown', async (_, kind, content, message) => {
    await write(`posthorn.config.${kind}`, content)
    const text = await refusal(() => load())
    expect(text).toContain(message)
    expect(text).toContain('set POSTHORN_MAIN_PASSWORD or POSTHORN_MAIN_PASSWORD_FILE, or say where it stands')
    expect(text).not.toContain('canary-77')
  })

  it('that a module reads from the environment are its own affair, whatever word they are', async () => {
    process.env['POSTHORN_TEST_SECRET'] = 'brokers'
    onTestFinished(() => void delete process.env['POSTHORN_TEST_SECRET'])
    await write('posthorn.config.mjs', "export default { brokers: { main: `amqp://ada:${process.env['POSTHORN_TEST_SECRET']}@mq` } }")
    expect(await load()).toBe('amqp://ada:brokers@mq')
  })

  it.each<readonly [string, Readonly<Record<string, string>>, string]>([
    ['a variable that is not set', { MQ_PASSWRD: 'x' }, '"brokers.main.rabbitmq.password": the variable MQ_PASSWORD is not set. did you mean "MQ_PASSWRD"?'],
    ['a variable that is empty', { MQ_PASSWORD: '' }, 'the variable MQ_PASSWORD is set but empty'],
    ['a setting in two places', { MQ_PASSWORD: 'x', POSTHORN_MAIN_PASSWORD: 'a', POSTHORN_MAIN_PASSWORD_FILE: 'b' }, 'POSTHORN_MAIN_PASSWORD_FILE is set, too'],
    ['a misspelt setting', { POSTHORN_MAIN_PASWORD: 'x' }, 'cannot use POSTHORN_MAIN_PASWORD: there is no such variable. did you mean "POSTHORN_MAIN_PASSWORD"?'],
    ['a file that is not there', { MQ_PASSWORD: 'x', POSTHORN_MAIN_PASSWORD_FILE: 'gone' }, 'cannot use POSTHORN_MAIN_PASSWORD_FILE: the file'],
    ['a file that is empty', { MQ_PASSWORD: 'x', POSTHORN_MAIN_PASSWORD_FILE: 'empty' }, 'is empty'],
  ])('refuse %s', async (_, env, message) => {
    await write('empty', '\n')
    await write('posthorn.config.json', { brokers: { main: { url: 'amqp://mq', rabbitmq: { password: { env: 'MQ_PASSWORD' } } } } })
    expect(await refusal(() => load(env))).toContain(message)
  })

  it('are cut out of every text once they were looked up', async () => {
    await write('password', 'canary-of-a-file\n')
    await write('posthorn.config.json', { brokers: { main: { url: 'redis://h', redis: { password: { file: 'password' } } } } })
    await load()
    expect(await refusal(() => load({ POSTHORN_BROKER: 'nothing://canary-of-a-file' }))).not.toContain('canary-of-a-file')
  })
})

describe('a broker by its name alone', () => {
  it('is the embedded one for "memory", and a hint for the others', async () => {
    expect(await load({ POSTHORN_BROKER: 'memory' })).toBe('memory:')
    const text = await refusal(() => load({ POSTHORN_BROKER: 'rabbitmq' }))
    expect(text).toContain('cannot find the broker "rabbitmq" (POSTHORN_BROKER): there is no posthorn.config file')
    expect(text).toContain('and POSTHORN_RABBITMQ_URL is not set, as in amqp://localhost.')
    expect(await refusal(() => load({ POSTHORN_BROKER: 'mian', POSTHORN_MAIN_URL: 'redis://h' }))).toContain('did you mean "main"?')
    expect(await load({ POSTHORN_BROKER: 'memory', POSTHORN_BROKERS: 'docker' })).toBe('memory:')
  })
})

describe('options of an adapter that is installed', () => {
  it('are checked where they are written', async () => {
    const home = join(folder, 'node_modules', '@posthorn', 'redis')
    await mkdir(home, { recursive: true })
    await write('package.json', { name: 'shop' })
    await writeFile(join(home, 'package.json'), JSON.stringify({ name: '@posthorn/redis', type: 'module', exports: './index.js' }))
    const source = `export function adapter(url, options) {
      if (options?.leasMs) throw new Error('there is no option "leasMs". did you mean "leaseMs"?')
      return { name: 'redis', open() {}, explain() {} }
    }`
    await writeFile(join(home, 'index.js'), source)
    const before = process.cwd()
    process.chdir(folder)
    onTestFinished(() => process.chdir(before))
    await write('posthorn.config.json', { brokers: { main: { url: 'redis://h', redis: { leasMs: 5000 } } } })
    const text = await refusal(() => load())
    expect(text).toContain(`cannot use ${join(folder, 'posthorn.config.json')}: "brokers.main"`)
    expect(text).toContain('there is no option "leasMs". did you mean "leaseMs"?')
  })
})

describe('posthorn.config.ts', () => {
  const run = promisify(execFile)
  const core = pathToFileURL(fileURLToPath(new URL('../src/config.ts', import.meta.url))).href
  const tsx = pathToFileURL(createRequire(new URL('../../../package.json', import.meta.url)).resolve('tsx')).href
  const config = `const url: string = 'redis://typed'\nexport default { brokers: { main: url } } satisfies object\n`

  it('is read by a runtime that reads TypeScript', { timeout: 30_000 }, async () => {
    await write('posthorn.config.ts', config)
    await write('run.ts', `import { loadConfig } from '${core}'\nconsole.log(await loadConfig())\n`)
    await write('package.json', { type: 'module' })
    const { stdout } = await run(process.execPath, ['--import', tsx, 'run.ts'], { cwd: folder, env: { PATH: process.env['PATH'] } })
    expect(stdout.trim()).toBe('redis://typed')
  })
})
