import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { defineConfig, loadConfig } from '@posthorn/core/config'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isMessagingError } from '../src/errors.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posthorn-config-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const write = (name: string, content: unknown): Promise<void> =>
  writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content))
const load = (name?: string, env: Readonly<Record<string, string>> = {}, cwd = folder): ReturnType<typeof loadConfig> =>
  loadConfig(name, { cwd, env })
async function refusal(run: () => Promise<unknown>): Promise<string> {
  try {
    return `accepted ${inspect(await run())}`
  } catch (error) {
    if (isMessagingError(error, 'INVALID_ARGUMENT')) return error.message
    throw error
  }
}

describe('loadConfig', () => {
  it.each([
    ['posthorn.config.json', JSON.stringify({ brokers: { main: 'redis://localhost' } })],
    ['posthorn.config.mjs', `export default { brokers: { main: 'redis://localhost' } }`],
    ['posthorn.config.js', `export default { brokers: { main: 'redis://localhost' } }`],
  ])('reads %s', async (name, content) => {
    await write('package.json', { type: 'module' })
    await write(name, content)
    expect(await load()).toBe('redis://localhost')
  })

  it('searches upwards, and takes the nearest', async () => {
    await write('posthorn.config.json', { brokers: { main: 'redis://above' } })
    await mkdir(join(folder, 'services', 'email'), { recursive: true })
    expect(await load(undefined, {}, join(folder, 'services', 'email'))).toBe('redis://above')
    await write('services/posthorn.config.json', { brokers: { main: 'redis://near' } })
    expect(await load(undefined, {}, join(folder, 'services', 'email'))).toBe('redis://near')
  })

  it('chooses by the name asked for, then by the environment, then by the default, then the only one', async () => {
    await write('posthorn.config.json', { default: 'main', brokers: { main: 'redis://main', audit: 'kafka://audit' } })
    expect(await load('audit', { POSTHORN_BROKER: 'main' })).toBe('kafka://audit')
    expect(await load(undefined, { POSTHORN_BROKER: 'audit' })).toBe('kafka://audit')
    expect(await load(undefined, { POSTHORN_BROKER: 'mqtt://elsewhere' })).toBe('mqtt://elsewhere')
    expect(await load()).toBe('redis://main')
  })

  it('lets the environment replace a URL and keeps the options beside it', async () => {
    await write('posthorn.config.json', {
      default: 'main',
      brokers: { main: { url: 'redis://main', redis: { leaseMs: 5000 } }, 'eu-west': 'kafka://a' },
    })
    expect(await load(undefined, { POSTHORN_MAIN_URL: 'rediss://other' })).toEqual({ url: 'rediss://other', redis: { leaseMs: 5000 } })
    expect(await load('eu-west', { POSTHORN_EU_WEST_URL: 'kafka://b' })).toBe('kafka://b')
  })

  it('takes the file that is named, whatever its name, and no other', async () => {
    await write('posthorn.config.json', { brokers: { main: 'redis://searched' } })
    await write('staging.json', { brokers: { main: 'redis://named' } })
    expect(await loadConfig(undefined, { cwd: folder, env: {}, file: 'staging.json' })).toBe('redis://named')
    expect(await loadConfig(undefined, { cwd: '/', env: {}, file: join(folder, 'staging.json') })).toBe('redis://named')
    expect(await refusal(() => loadConfig(undefined, { cwd: folder, env: {}, file: 'away.json' }))).toMatch(/away\.json: .*no such file/)
    expect(await refusal(() => loadConfig(undefined, { cwd: folder, env: {}, file: 'staging.yaml' }))).toMatch(
      /^cannot use .*staging\.yaml: a configuration file ends with \.js, \.mjs, \.json or \.ts$/,
    )
  })

  it('needs no file', async () => {
    expect(await load(undefined, { POSTHORN_BROKER: 'memory:' })).toBe('memory:')
    expect(await load(undefined, { POSTHORN_BROKER: 'main', POSTHORN_MAIN_URL: 'redis://m' })).toBe('redis://m')
    expect(await load('audit', { POSTHORN_AUDIT_URL: 'kafka://a,b:9093,c' })).toBe('kafka://a,b:9093,c')
  })

  it('never chooses the embedded broker silently', async () => {
    expect(await refusal(() => load())).toMatch(
      /^cannot load the configuration: there is no posthorn\.config\.\{js,mjs,json,ts\} in .* or above, and POSTHORN_BROKER is not set/,
    )
  })

  it.each<readonly [string, unknown, string]>([
    ['no object', [], 'it must give an object'],
    ['a misspelt key', { broker: { main: 'memory:' } }, 'there is no key "broker". did you mean "brokers"?'],
    ['no brokers', { brokers: {} }, '"brokers" is empty'],
    ['brokers that are a list', { brokers: ['memory:'] }, '"brokers" must be an object'],
    ['a bad name', { brokers: { Main_1: 'memory:' } }, '"brokers.Main_1" is not a name'],
    [
      'an unknown scheme',
      { brokers: { main: 'kafak://a' } },
      '"brokers.main": there is no adapter for "kafak:", as in "kafak://a". did you mean "kafka:"?',
    ],
    ['no scheme', { brokers: { main: 'localhost' } }, '"localhost" is no URL: it starts with its scheme'],
    ['an empty URL', { brokers: { main: '' } }, '"brokers.main": the URL is empty'],
    ['a number', { brokers: { main: 7 } }, '"brokers.main": the target is a URL'],
    ['null', { brokers: { main: null } }, '"brokers.main": the target is a URL'],
    [
      'a misspelt target key',
      { brokers: { main: { url: 'memory:', rabitmq: {} } } },
      'there is no key "rabitmq". did you mean "rabbitmq"?',
    ],
    ['a target without URL', { brokers: { main: { redis: {} } } }, '"url" of the target must be a text'],
    ['options that are no object', { brokers: { main: { url: 'redis://a', redis: 'fast' } } }, '"redis" of the target must be an object'],
    [
      'a default that is not there',
      { default: 'mian', brokers: { main: 'memory:', audit: 'memory:' } },
      '"default" names the broker "mian", which "brokers" does not have. did you mean "main"?',
    ],
    ['no default among several', { brokers: { main: 'memory:', audit: 'memory:' } }, 'several brokers (main, audit) and no "default"'],
  ])('refuses %s in the file, and names it', async (_, content, message) => {
    await write('posthorn.config.json', content)
    const text = await refusal(() => load())
    expect(text).toContain(message)
    expect(text).toContain(join(folder, 'posthorn.config.json'))
  })

  it.each<readonly [string, Readonly<Record<string, string>>, string]>([
    [
      'a misspelt variable',
      { POSTHORN_BROKR: 'memory:' },
      'cannot use POSTHORN_BROKR: there is no such variable. did you mean "POSTHORN_BROKER"?',
    ],
    ['a misspelt URL variable', { POSTHORN_MAIN_ULR: 'memory:' }, 'did you mean "POSTHORN_MAIN_URL"?'],
    ['an empty variable', { POSTHORN_BROKER: '' }, 'cannot use POSTHORN_BROKER: it is set but empty'],
    ['an unknown scheme', { POSTHORN_BROKER: 'reddis://a' }, 'did you mean "redis:"?'],
    ['an unknown broker', { POSTHORN_BROKER: 'mani' }, 'cannot find the broker "mani" (POSTHORN_BROKER)'],
    ['a bad name', { POSTHORN_BROKER: 'Main Broker' }, 'cannot use POSTHORN_BROKER: it is the name of a broker, or a URL'],
    ['a bad URL variable', { POSTHORN_MAIN_URL: 'localhost' }, 'cannot use POSTHORN_MAIN_URL'],
  ])('refuses %s, and names it', async (_, env, message) => {
    await write('posthorn.config.json', { default: 'main', brokers: { main: 'memory:', audit: 'memory:' } })
    expect(await refusal(() => load(undefined, env))).toContain(message)
  })

  it('leaves variables of others alone', async () => {
    await write('posthorn.config.json', { brokers: { main: 'memory:' } })
    expect(await load(undefined, { POSTHORN_STRICT: '1', POSTHORN_KAFKA_URL: 'kafka://k', PATH: '/bin' })).toBe('memory:')
  })

  it('refuses two files in one folder, a file that does not run and one without a default export', async () => {
    await write('posthorn.config.json', { brokers: { main: 'memory:' } })
    await write('posthorn.config.mjs', 'export default {}')
    expect(await refusal(() => load())).toContain('has posthorn.config.json and posthorn.config.mjs')
    await rm(join(folder, 'posthorn.config.json'))
    expect(await refusal(() => load())).toContain('"brokers" must be an object')
    await mkdir(join(folder, 'a'))
    await write('a/posthorn.config.mjs', 'export const config = {}')
    expect(await refusal(() => load(undefined, {}, join(folder, 'a')))).toContain('it has no default export')
    await mkdir(join(folder, 'b'))
    await write('b/posthorn.config.mjs', 'throw new Error("no vault")')
    expect(await refusal(() => load(undefined, {}, join(folder, 'b')))).toContain('running it failed: no vault')
  })

  it.each<readonly [unknown, unknown]>([
    ['Main', {}],
    [7, {}],
    [undefined, { cdw: '/' }],
    [undefined, { cwd: 7 }],
    [undefined, { env: 'PATH' }],
    [undefined, null],
  ])('refuses loadConfig(%j, %j)', async (name, options) => {
    await expect(loadConfig(name as never, options as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  it('shows no secret of a file or a variable that it refuses', async () => {
    const secret = 'canary-config-9'
    const texts: string[] = []
    const collect = async (run: () => Promise<unknown>): Promise<void> => {
      try {
        await run()
      } catch (error) {
        texts.push(inspect(error, { depth: 10, showHidden: true }), String((error as Error).stack))
      }
    }
    await write('posthorn.config.json', `{ "brokers": { "main": "amqp://ada:${secret}@mq" } oops`)
    await collect(() => load())
    await write('posthorn.config.json', { brokers: { main: { url: `kafak://ada:${secret}@mq`, kafka: {} } } })
    await collect(() => load())
    await write('posthorn.config.json', { brokers: { main: { ulr: `amqp://ada:${secret}@mq` } } })
    await collect(() => load())
    await collect(() => load(undefined, { POSTHORN_BROKER: `nothing://ada:${secret}@mq` }))
    await collect(() => load('other', { POSTHORN_MAIN_URL: `amqp://ada:${secret}@mq` }))
    expect(texts).toHaveLength(10)
    expect(texts.join('\n')).not.toContain(secret)
  })
})

describe('defineConfig', () => {
  it('returns what it was given, or says what is wrong', () => {
    const config = { brokers: { main: 'memory:' } }
    expect(defineConfig(config)).toBe(config)
    expect(() => defineConfig({ brokers: {} })).toThrow('cannot use the configuration: "brokers" is empty')
  })
})
