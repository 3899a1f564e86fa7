import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { type Broker, type ConnectOptions, connect, isMessagingError, type LogEntry, type Status, topic, unchecked } from '@posthorn/core'
import { type Adapter, type AdapterContext, connectWith, type Session } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, type VirtualClock, virtualClock } from '@posthorn/core/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'

const ticks = topic('ticks', { schema: unchecked<{ n: number }>(), groups: ['email'] })
const brokers: Broker[] = []
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((each) => each.close({ drainMs: 0 })))
})
async function opened(target: Parameters<typeof connect>[0], options: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(target, { log: false, ...options })
  brokers.push(broker)
  return broker
}
async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (isMessagingError(error)) return `${error.code} ${error.message}`
    throw error
  }
  return 'accepted'
}

const real = memory()
/** The embedded broker behind a door that the test opens and shuts. */
function door(
  open: (context: AdapterContext, signal: AbortSignal, tries: number) => Promise<Session>,
): Adapter & { tries: number; readonly at: number[] } {
  const adapter = {
    ...real,
    name: 'door',
    tries: 0,
    at: [] as number[],
    open(context: AdapterContext, signal: AbortSignal): Promise<Session> {
      adapter.tries += 1
      adapter.at.push(context.clock.monotonic())
      return open(context, signal, adapter.tries)
    },
    explain: (error: unknown) =>
      error instanceof Error && error.message.startsWith('WRONGPASS')
        ? { code: 'UNAUTHORIZED' as const, retryable: false, outcome: 'none' as const }
        : error instanceof Error && error.message.startsWith('ECONNREFUSED')
          ? { code: 'UNAVAILABLE' as const, retryable: true, outcome: 'none' as const }
          : real.explain(error),
  }
  return adapter
}
const refuse = async (): Promise<never> => {
  throw new Error('ECONNREFUSED 127.0.0.1:6379')
}
function under(clock: VirtualClock, adapter: Adapter, options: ConnectOptions = {}): Promise<Broker> {
  return connectWith({ clock, random: () => 0 }, adapter, { log: false, ...options })
}

describe('connect', () => {
  it('takes a URL, a URL with options, or an adapter', async () => {
    for (const target of ['memory:', 'MEMORY:shared-by-name', { url: 'memory:?profile=kafka' }, memory()]) {
      const broker = await opened(target)
      expect(broker.adapter).toBe('memory')
      expect(broker.status).toBe('connected')
    }
  })

  it.each<readonly [string, unknown, string]>([
    ['nothing', undefined, 'INVALID_ARGUMENT cannot connect: the target is a URL, { url, … } or an adapter, not undefined'],
    ['null', null, 'not null'],
    ['a number', 6379, 'not 6379'],
    ['a list', ['memory:'], 'the target is a URL'],
    ['an empty text', '', 'the URL is empty. is BROKER_URL set to nothing?'],
    ['no scheme', 'localhost', '"localhost" is no URL'],
    ['an unknown scheme', 'http://localhost', 'there is no adapter for "http:"'],
    ['a misspelt scheme', 'kakfa://localhost', 'did you mean "kafka:"?'],
    [
      'a host in place of the scheme',
      'localhost:9092',
      'there is no adapter for "localhost:", as in "localhost:9092". known are memory:, kafka:, amqp:, amqps:, redis:, rediss:, mqtt:, mqtts:',
    ],
    ['an unknown URL parameter', 'memory:?profle=kafka', 'profile'],
    ['a bad URL parameter', 'memory:?profile=sqs', 'profile'],
    ['an object without URL', { kafka: {} }, '"url" of the target must be a text'],
    ['a misspelt key', { url: 'memory:', memroy: {} }, 'there is no key "memroy". did you mean "memory"?'],
    ['options that are no object', { url: 'memory:', memory: 5 }, '"memory" of the target must be an object, not 5'],
    ['an unknown key under native options', { url: 'memory:', memory: { leaseMS: 5000 } }, 'leaseMs'],
    ['an adapter without a name', { open: () => 1, explain: () => 1 }, 'the target is an adapter without a name'],
    ['an adapter without explain', { name: 'horn', open: () => 1 }, 'an adapter "horn" without explain()'],
    ['an adapter without open', { name: 'horn', explain: () => 1 }, 'an adapter "horn" without open()'],
  ])('refuses %s before any I/O', async (_, target, message) => {
    const text = await refusal(connect(target as never, { log: false }))
    expect(text).toMatch(/^INVALID_ARGUMENT /)
    expect(text).toContain(message)
  })

  it.each<readonly [unknown, string]>([
    [{ nam: 'shop' }, 'there is no option "nam". did you mean "name"?'],
    [{ name: '' }, '"name"'],
    [{ name: 'a\nb' }, '"name"'],
    [{ name: 7 }, '"name"'],
    [{ middleware: () => 1 }, '"middleware" must be a list'],
    [{ middleware: ['x'] }, '"middleware"'],
    [{ log: true }, '"log" must be one of false, or a function'],
    [{ onStatus: 'x' }, '"onStatus"'],
    [{ connectTimeoutMs: '10s' }, '"connectTimeoutMs" must be a whole number'],
    [{ connectTimeoutMs: Number.NaN }, 'not NaN'],
    [{ connectTimeoutMs: -1 }, 'not -1'],
    [{ connectTimeoutMs: 2 ** 53 }, '"connectTimeoutMs"'],
    [{ signal: {} }, '"signal" must be an AbortSignal'],
    [null, 'the options must be an object, not null'],
  ])('refuses the options %j', async (options, message) => {
    const text = await refusal(connect('memory:', options as never))
    expect(text).toMatch(/^INVALID_ARGUMENT cannot connect: /)
    expect(text).toContain(message)
  })

  it('ignores native options of other adapters, so that switching stays one line', async () => {
    await opened({ url: 'memory:', kafka: { anything: 1 }, redis: undefined } as never)
  })

  it('says what to install when the adapter is missing', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'posthorn-app-')))
    await writeFile(join(folder, 'package.json'), '{"name":"shop"}')
    vi.spyOn(process, 'cwd').mockReturnValue(folder)
    // The workspace of these tests has the package: it is looked for beside the program, too.
    const { argv } = process
    process.argv = [argv[0] ?? '', join(folder, 'main.js')]
    try {
      const error: unknown = await connect('kafka://a,b:9093,c').catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({
        code: 'UNAVAILABLE',
        retryable: false,
        message:
          `cannot load the adapter for "kafka:": @posthorn/kafka is not installed in ${folder} (looked from package.json there). ` +
          'run `npm install @posthorn/kafka`, or pass an adapter: connect(kafka({ … }))',
      })
    } finally {
      process.argv = argv
      vi.restoreAllMocks()
      await rm(folder, { recursive: true })
    }
  })

  it('loads an adapter from the application, and gives it the URL and its own options', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'posthorn-app-')))
    const home = join(folder, 'node_modules', '@posthorn', 'mqtt')
    await mkdir(home, { recursive: true })
    await writeFile(join(folder, 'package.json'), '{"name":"shop"}')
    await writeFile(join(home, 'package.json'), '{"name":"@posthorn/mqtt","type":"module","exports":{".":{"default":"./index.js"}}}')
    await writeFile(
      join(home, 'index.js'),
      `export const adapter = (url, options) => { globalThis.given = { url, options }; throw new Error('unknown parameter "kepalive"') }`,
    )
    vi.spyOn(process, 'cwd').mockReturnValue(join(folder, 'node_modules'))
    try {
      const url = 'mqtts://a,b:8884/?kepalive=5'
      expect(await refusal(connect({ url, mqtt: { clean: false }, kafka: {} } as never))).toBe(
        `INVALID_ARGUMENT cannot connect to "${url}": unknown parameter "kepalive"`,
      )
      expect((globalThis as { given?: unknown }).given).toEqual({ url, options: { clean: false } })
    } finally {
      vi.restoreAllMocks()
      await rm(folder, { recursive: true })
    }
  })

  it('keeps trying while the server is not reachable, at most twice a second', async () => {
    const clock = virtualClock()
    const adapter = door(async (context, signal, tries) => (tries < 5 ? refuse() : real.open(context, signal)))
    const broker = await drive(clock, under(clock, adapter))
    expect(adapter.tries).toBe(5)
    for (let n = 1; n < adapter.at.length; n++) expect((adapter.at[n] ?? 0) - (adapter.at[n - 1] ?? 0)).toBeGreaterThanOrEqual(500)
    await drive(clock, broker.close())
  })

  it('gives up after connectTimeoutMs with UNAVAILABLE, naming the target without its password', async () => {
    const clock = virtualClock()
    const adapter = door(refuse)
    const begin = clock.monotonic()
    expect(await drive(clock, refusal(under(clock, adapter, { connectTimeoutMs: 3_000 })))).toBe(
      'UNAVAILABLE cannot connect with the adapter "door": not reachable within 3000 ms. ECONNREFUSED 127.0.0.1:6379. is the server running there?',
    )
    expect(clock.monotonic() - begin).toBe(3_000)
  })

  it('does not try again what waiting cannot cure', async () => {
    const clock = virtualClock()
    const adapter = door(async () => {
      throw new Error('WRONGPASS invalid username-password pair')
    })
    expect(await drive(clock, refusal(under(clock, adapter)))).toBe(
      'UNAUTHORIZED cannot connect with the adapter "door": WRONGPASS invalid username-password pair',
    )
    expect(adapter.tries).toBe(1)
  })

  it('wraps whatever an adapter throws, also at once, and survives an explain that throws', async () => {
    const clock = virtualClock()
    const hostile = {
      ...door(refuse),
      open: () => {
        throw 'a text'
      },
      explain: () => {
        throw new Error('no')
      },
    }
    expect(await drive(clock, refusal(under(clock, hostile as never)))).toBe('INTERNAL cannot connect with the adapter "door": a text')
  })

  it('closes a session that comes after it gave up', async () => {
    const clock = virtualClock()
    let hand: (session: Session) => void = () => undefined
    let aborted = false
    const adapter = door((_, signal) => {
      signal.addEventListener('abort', () => {
        aborted = true
      })
      return new Promise((resolve) => {
        hand = resolve
      })
    })
    expect(await drive(clock, refusal(under(clock, adapter, { connectTimeoutMs: 1_000 })))).toContain('the server did not answer')
    expect(aborted).toBe(true)
    const close = vi.fn(async () => undefined)
    hand({ close } as never)
    await vi.waitFor(() => expect(close).toHaveBeenCalledTimes(1))
  })

  it('gives up by its signal, before and while it connects', async () => {
    const clock = virtualClock()
    const adapter = door(() => new Promise(() => undefined))
    expect(await refusal(under(clock, adapter, { signal: AbortSignal.abort() }))).toBe(
      'CANCELLED cannot connect with the adapter "door": the signal was aborted',
    )
    expect(adapter.tries).toBe(0)
    const controller = new AbortController()
    const connecting = refusal(under(clock, adapter, { signal: controller.signal }))
    controller.abort()
    expect(await connecting).toMatch(/^CANCELLED/)
    const waiting = new AbortController()
    const refused = door(refuse)
    const between = refusal(under(clock, refused, { signal: waiting.signal }))
    await vi.waitFor(() => expect(refused.tries).toBe(1))
    waiting.abort()
    expect(await between).toMatch(/^CANCELLED/)
  })

  it('has the name of the application by default', async () => {
    const seen: string[] = []
    const adapter = door((context, signal) => {
      seen.push(context.name)
      return real.open(context, signal)
    })
    await opened(adapter)
    await opened(adapter, { name: 'email service' })
    expect(seen[0]).not.toBe('')
    expect(seen[1]).toBe('email service')
  })

  it('gives each connect an identity of its own', async () => {
    const seen = new Set<string>()
    const adapter = door((context, signal) => {
      seen.add(context.instance)
      return real.open(context, signal)
    })
    await Promise.all([opened(adapter), opened(adapter), opened(adapter)])
    expect(seen.size).toBe(3)
    for (const each of seen) expect(each).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})

describe('the broker object', () => {
  it('reports the link, tells whoever listens, and is not ready meanwhile', async () => {
    let context: AdapterContext | undefined
    const adapter = door((given, signal) => {
      context = given
      return real.open(given, signal)
    })
    const heard: (readonly [Status, string | undefined])[] = []
    const entries: LogEntry[] = []
    const broker = await opened(adapter, {
      onStatus: (status, error) => heard.push([status, error?.message]),
      log: (entry) => entries.push(entry),
    })
    expect(broker.health()).toEqual({ live: true, ready: true, reasons: [] })
    context?.report('recovering', new Error('ECONNRESET'))
    expect(broker.status).toBe('recovering')
    expect(broker.health()).toEqual({ live: true, ready: false, reasons: ['the connection is recovering'] })
    context?.report('recovering')
    context?.report('connected')
    expect(broker.status).toBe('connected')
    expect(heard).toEqual([
      ['recovering', 'the connection to door is lost: ECONNRESET'],
      ['connected', undefined],
    ])
    expect(entries.map((entry) => entry.event)).toEqual(['recovering', 'recovered'])
    context?.event('position-lost', { topic: 'ticks', note: 'going on from the earliest' })
    expect(entries.at(-1)).toMatchObject({ level: 'warn', event: 'position-lost', topic: 'ticks' })
    context?.report('failed', new Error('WRONGPASS revoked'))
    expect(broker.status).toBe('failed')
    expect(broker.health().live).toBe(false)
    context?.report('connected')
    expect(broker.status).toBe('failed')
  })

  it('survives a listener that throws', async () => {
    let context: AdapterContext | undefined
    const adapter = door((given, signal) => {
      context = given
      return real.open(given, signal)
    })
    const broker = await opened(adapter, {
      onStatus: () => {
        throw new Error('mine')
      },
    })
    expect(() => context?.report('recovering')).not.toThrow()
    expect(broker.status).toBe('recovering')
  })

  it('has one producer per topic and options', async () => {
    const broker = await opened('memory:')
    expect(broker.producer(ticks)).toBe(broker.producer(ticks))
    expect(broker.producer(ticks)).toBe(broker.producer(ticks, { timeoutMs: undefined }))
    expect(broker.producer(ticks, { timeoutMs: 5 })).toBe(broker.producer(ticks, { timeoutMs: 5 }))
    expect(broker.producer(ticks, { timeoutMs: 5 })).not.toBe(broker.producer(ticks))
    expect(() => broker.producer(ticks, { timeoutMS: 5 } as never)).toThrow('did you mean "timeoutMs"?')
    expect(() => broker.producer(ticks, { timeoutMs: Number.NaN })).toThrow('"timeoutMs"')
    expect(() => broker.producer({ name: 'ticks' })).toThrow("a topic made by topic('name') is needed")
  })

  it('gives the client of its own adapter only', async () => {
    const broker = await opened('memory:')
    expect(broker.native('memory' as never)).toBeDefined()
    expect(() => broker.native('kafka' as never)).toThrow(
      'cannot take the client of "kafka": this broker is connected by the adapter "memory"',
    )
  })

  it('declares topics and groups, and tells their lag without making anything', async () => {
    const server = memoryServer()
    const broker = await opened(memory({ server }))
    expect(await refusal(broker.lag(ticks, 'email'))).toMatch(/^NOT_FOUND cannot tell the lag of "ticks" for group "email"/)
    await broker.declare(ticks)
    await broker.declare([ticks], { groups: ['late'] })
    await broker.producer(ticks).send({ n: 1 })
    expect(await broker.lag(ticks, 'email')).toMatchObject({ backlog: 1 })
    expect(await refusal(broker.declare([]))).toContain('the list of topics is empty')
    expect(await refusal(broker.declare(ticks, { groups: ['Bad'] }))).toContain('"Bad" is not a group name')
    expect(await refusal(broker.declare(ticks, { group: ['a'] } as never))).toContain('did you mean "groups"?')
    expect(await refusal(broker.lag(ticks, '' as never))).toContain('INVALID_ARGUMENT')
    expect(await refusal(broker.lag(ticks, 'email', { signal: AbortSignal.abort() }))).toMatch(/^CANCELLED/)
    expect(() => broker.deadLetters(ticks, 'Bad')).toThrow('"Bad" is not a group name')
  })

  it('rejects everything after close, and closing again is the same promise', async () => {
    const broker = await opened('memory:')
    const producer = broker.producer(ticks)
    await producer.send({ n: 1 })
    const closing = broker.close()
    expect(broker.close()).toBe(closing)
    expect(broker.close({ drainMs: 5 })).toBe(closing)
    await closing
    expect(broker.status).toBe('closed')
    expect(broker.health()).toMatchObject({ live: false, ready: false })
    const handler = (): void => undefined
    expect(await refusal(producer.send({ n: 2 }))).toMatch(/^CLOSED/)
    expect(await refusal(broker.consume(ticks, { group: 'email' }, handler))).toMatch(/^CLOSED cannot consume "ticks"/)
    expect(await refusal(broker.consumeBatch(ticks, { group: 'email' }, async () => undefined))).toMatch(/^CLOSED/)
    expect(await refusal(broker.pull(ticks, { group: 'email' }))).toMatch(/^CLOSED/)
    expect(await refusal(broker.declare(ticks))).toMatch(/^CLOSED/)
    expect(await refusal(broker.lag(ticks, 'email'))).toMatch(/^CLOSED/)
    expect(() => broker.producer(ticks)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    expect(() => broker.deadLetters(ticks, 'email')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('goes on after a close that was refused', async () => {
    const broker = await opened('memory:')
    expect(await refusal(broker.close({ drainMs: -1 }))).toMatch(/^INVALID_ARGUMENT cannot close the broker: "drainMs"/)
    expect(await refusal(broker.close({ drain: 5 } as never))).toContain('"drainMs"')
    expect(broker.status).toBe('connected')
    await broker.producer(ticks).send({ n: 1 })
  })

  it('finishes what runs when it closes, also from inside a handler', async () => {
    const broker = await opened('memory:')
    const handled: number[] = []
    let closing: Promise<void> | undefined
    await broker.consume(ticks, { group: 'email' }, async (message) => {
      closing ??= broker.close({ drainMs: 5_000 })
      await Promise.resolve()
      handled.push(message.value.n)
    })
    await broker.producer(ticks).send({ n: 1 })
    await vi.waitFor(() => expect(handled).toEqual([1]))
    await closing
    expect(broker.status).toBe('closed')
  })

  it('keeps the deadline of close with a handler that never ends and a server that is gone', async () => {
    const clock = virtualClock()
    const stuck: Session[] = []
    const adapter = door(async (context, signal) => {
      const session = await real.open(context, signal)
      stuck.push(session)
      return new Proxy(session, {
        get: (target, key) => (key === 'close' ? () => new Promise(() => undefined) : Reflect.get(target, key, target)),
      })
    })
    const broker = await drive(clock, under(clock, adapter))
    let started = false
    await drive(
      clock,
      broker.consume(ticks, { group: 'email' }, () => {
        started = true
        return new Promise<void>(() => undefined)
      }),
    )
    await drive(clock, broker.producer(ticks).send({ n: 1 }))
    await drive(
      clock,
      vi.waitFor(() => expect(started).toBe(true)),
    )
    const begin = clock.monotonic()
    await drive(clock, broker.close({ drainMs: 2_000 }))
    expect(clock.monotonic() - begin).toBeLessThanOrEqual(3_000)
    await drive(clock, Promise.all(stuck.map((session) => session.close(AbortSignal.abort()))))
  })

  it('ends a consume that is starting when it closes', async () => {
    const clock = virtualClock()
    const adapter = door(async (context, signal) => {
      const session = await real.open(context, signal)
      return new Proxy(session, {
        get: (target, key) => (key === 'subscribe' ? () => new Promise(() => undefined) : Reflect.get(target, key, target)),
      })
    })
    const broker = await drive(clock, under(clock, adapter))
    const starting = refusal(broker.consume(ticks, { group: 'email' }, () => undefined))
    await drive(clock, broker.declare(ticks))
    const closing = drive(clock, broker.close({ drainMs: 1_000 }))
    expect(await starting).toMatch(/^CLOSED cannot consume "ticks"/)
    await closing
  })

  it('disposes of itself at the end of a block', async () => {
    let seen: Broker | undefined
    {
      await using broker = await connect('memory:', { log: false })
      seen = broker
    }
    expect(seen.status).toBe('closed')
  })
})

describe('secrets', () => {
  const secret = 'canary-5ecret-url'
  const shown = (value: unknown): string =>
    [
      inspect(value, { depth: 12, showHidden: true }),
      inspect(value),
      String(value),
      value instanceof Error ? value.stack : '',
      JSON.stringify(value) ?? '',
    ].join('\n')

  it('of a URL or an option are in no error, whatever part of it is wrong', async () => {
    const targets: unknown[] = [
      `kafak://ada:${secret}@a,b`,
      `kafka://ada:${secret}@a,b:9093`,
      `amqp://ada:${secret}@`,
      `redis://:${secret}@host:notaport/x y`,
      `mqtt://[${secret}:${secret}@::1`,
      `kafka://a?sasl.password=${secret}`,
      { url: `redis://:${secret}@h`, rediss: {} },
      { url: 'kafka://a', kafka: { sasl: { password: secret } } },
      { ulr: `redis://:${secret}@h` },
      { url: `memory://ada:${secret}@x` },
      { name: 'horn', open: `redis://:${secret}@h` },
    ]
    for (const target of targets) {
      const error: unknown = await connect(target as never, { log: false, connectTimeoutMs: 500 }).catch((thrown: unknown) => thrown)
      expect(isMessagingError(error)).toBe(true)
      expect(shown(error)).not.toContain(secret)
    }
  })

  it('are in no log line, error, cause or event when the server speaks them', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const entries: LogEntry[] = []
    let context: AdapterContext | undefined
    const adapter = door(async (given, signal) => {
      context = given
      return real.open(given, signal)
    })
    const target = Object.assign(adapter, { options: { sasl: { password: secret } } })
    const loud = await opened(target, { log: undefined })
    const careful = await opened(target, { log: (entry) => entries.push(entry) })
    const failure = Object.assign(new Error(`AUTH ada ${secret} refused`, { cause: new Error(secret) }), { command: { args: [secret] } })
    const errors: unknown[] = []
    careful.health()
    context?.report('recovering', failure)
    context?.event('session-lost', { note: `redis://:${secret}@h went away` })
    context?.report('failed', failure)
    errors.push(...entries)
    const lines = written.mock.calls.map(([text]) => String(text)).join('')
    written.mockRestore()
    expect(entries.length).toBeGreaterThanOrEqual(3)
    expect(shown(errors)).not.toContain(secret)
    expect(lines).not.toContain(secret)
    expect(shown(loud)).not.toContain(secret)
    expect(inspect(loud)).toContain('[redacted]')
    expect(shown(careful.health())).not.toContain(secret)
  })
})
