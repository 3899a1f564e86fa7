import { inspect } from 'node:util'
import { type Broker, type ConnectOptions, connect, type LogEntry, topic, unchecked } from '@posthorn/core'
import type { Adapter, AdapterContext } from '@posthorn/core/adapter'
import { memory, memoryServer } from '@posthorn/core/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'

const ticks = topic('ticks', { schema: unchecked<{ n: number }>(), groups: ['email', 'push'] })
const brokers: Broker[] = []
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((each) => each.close({ drainMs: 0 })))
})
async function opened(target: Parameters<typeof connect>[0], options: ConnectOptions = {}): Promise<Broker> {
  const broker = await connect(target, { log: false, ...options })
  brokers.push(broker)
  return broker
}
const real = memory()
function watched(): { readonly adapter: Adapter; report: AdapterContext['report'] } {
  const held = {
    adapter: {
      ...real,
      open: (context: AdapterContext, signal: AbortSignal) => {
        held.report = context.report
        return real.open(context, signal)
      },
    },
    report: (() => undefined) as AdapterContext['report'],
  }
  return held
}

describe('a broker and its consumers', () => {
  it('fails them when the link failed for good, and says so until one takes the place', async () => {
    const link = watched()
    const broker = await opened(link.adapter)
    const consumer = await broker.consume(ticks, { group: 'email' }, () => undefined)
    const died = consumer.closed.catch((error: unknown) => error)
    expect(broker.health()).toEqual({ live: true, ready: true, reasons: [] })
    link.report('failed', new Error('credentials were withdrawn'))
    expect(await died).toMatchObject({ name: 'MessagingError' })
    expect(consumer.state).toBe('failed')
    expect(broker.health()).toMatchObject({ live: false, ready: false })
    expect(broker.health().reasons.join()).toContain('consumer of "ticks" as group "email" is failed')
  })

  it('calls them recovering while the link is', async () => {
    const link = watched()
    const broker = await opened(link.adapter)
    const consumer = await broker.consume(ticks, { group: 'email' }, () => undefined)
    expect(consumer.state).toBe('running')
    link.report('recovering')
    expect(consumer.state).toBe('recovering')
    expect(broker.health().reasons).toEqual(['the connection is recovering', 'consumer of "ticks" as group "email" is recovering'])
    link.report('connected')
    expect(consumer.state).toBe('running')
    expect(broker.health().ready).toBe(true)
  })

  it('is ready without consumers, and forgets those that were closed', async () => {
    const broker = await opened('memory:')
    const consumer = await broker.consume(ticks, { group: 'email' }, () => undefined)
    await consumer.close()
    expect(broker.health()).toEqual({ live: true, ready: true, reasons: [] })
  })

  it('drains all of them at the same time', async () => {
    const broker = await opened('memory:')
    const running = new Set<string>()
    let release: () => void = () => undefined
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    const done: string[] = []
    for (const group of ['email', 'push']) {
      await broker.consume(ticks, { group }, async () => {
        running.add(group)
        await released
        done.push(group)
      })
    }
    await broker.producer(ticks).send({ n: 1 })
    await vi.waitFor(() => expect(running.size).toBe(2))
    const closing = broker.close()
    release()
    await closing
    expect(done.sort()).toEqual(['email', 'push'])
  })

  it('rejects a refused consumer, and the next one works', async () => {
    const broker = await opened('memory:')
    await expect(broker.consume(ticks, { group: 'emial' }, () => undefined)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message:
        'cannot consume "ticks" as group "emial": the topic names the groups email, push. did you mean "email"? ' +
        "a new group is declared in the topic, or with broker.declare(topic, { groups: ['emial'] })",
    })
    await broker.declare(ticks, { groups: ['emial'] })
    await broker.consume(ticks, { group: 'emial' }, () => undefined)
    await expect(broker.consume(ticks, undefined as never, () => undefined)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(broker.consume(undefined as never, { group: 'email' }, () => undefined)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    await expect(broker.consume(ticks, { group: 'email' }, undefined as never)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('closing a broker', () => {
  it('gives every send that was not awaited its outcome', async () => {
    const server = memoryServer()
    const broker = await opened(memory({ server }))
    await broker.declare(ticks)
    const producer = broker.producer(ticks)
    const outcomes = Array.from({ length: 10_000 }, (_, n) =>
      producer.send({ n }).then(
        () => 'stored' as const,
        () => 'failed' as const,
      ),
    )
    await broker.close()
    const ended = await Promise.all(outcomes)
    const again = await opened(memory({ server }))
    expect((await again.lag(ticks, 'email')).backlog).toBe(ended.filter((each) => each === 'stored').length)
    expect(ended.filter((each) => each === 'stored')).toHaveLength(10_000)
  })

  it('can be done many times at once, and while consumers start', async () => {
    for (let round = 0; round < 20; round++) {
      const broker = await opened('memory:')
      const starting = broker
        .consume(ticks, { group: 'email' }, () => undefined)
        .then(
          () => 'started',
          (error: unknown) => (error as { code: string }).code,
        )
      const turns = round % 10
      for (let turn = 0; turn < turns; turn++) await Promise.resolve()
      await Promise.all(Array.from({ length: 10 }, () => broker.close({ drainMs: 100 })))
      expect(['started', 'CLOSED']).toContain(await starting)
      expect(broker.status).toBe('closed')
    }
  })
})

describe('what people see', () => {
  it('is one line for a failing handler, a dead letter, and the backlog of a new group', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const late = topic('late', { schema: unchecked<number>(), groups: ['early'] })
    try {
      const broker = await opened(memory(), { log: undefined })
      for (let n = 0; n < 3; n++) await broker.producer(late).send(n)
      await broker.declare(late)
      await broker.consume(topic('late', { schema: unchecked<number>() }), { group: 'new', retry: false }, (message) => {
        if (message.value === 1) throw new Error('the printer is on fire')
      })
      await vi.waitFor(() => expect(written.mock.calls.join('')).toContain('went to the dead letters'))
      const lines = written.mock.calls.map(([text]) => String(text))
      expect(lines.filter((line) => line.includes('the new group "new" of "late" starts with 3 stored messages'))).toHaveLength(1)
      expect(
        lines.filter((line) => line.startsWith('posthorn warn: the handler of "late"') && line.includes('the printer is on fire')),
      ).toHaveLength(1)
      expect(
        lines.filter((line) => line.includes('went to the dead letters after 1 attempt (failed): the printer is on fire')),
      ).toHaveLength(1)
      for (const line of lines) expect(line).toMatch(/^posthorn (info|warn|error): [^\n]+\n$/)
      expect(out).not.toHaveBeenCalled()
    } finally {
      written.mockRestore()
      out.mockRestore()
    }
  })

  it('is that the embedded broker lives in this process, for a URL and not for an adapter', async () => {
    const entries: LogEntry[] = []
    await opened('memory:', { log: (entry) => entries.push(entry) })
    expect(entries).toEqual([
      {
        level: 'warn',
        event: 'embedded-broker',
        message:
          'embedded broker "memory:": messages live in this process and end with it; other processes see none of them. ' +
          'two services in two terminals need a real one: give both its URL; `npm run broker redis` starts one',
      },
    ])
    await opened(memory(), { log: (entry) => entries.push(entry) })
    expect(entries).toHaveLength(1)
  })

  it('is nothing with log: false', async () => {
    const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    try {
      const broker = await opened('memory:', { log: false })
      let failed = (): void => {}
      const failing = new Promise<void>((resolve) => {
        failed = resolve
      })
      await broker.consume(ticks, { group: 'email', retry: false }, () => {
        failed()
        throw new Error('boom')
      })
      await broker.producer(ticks).send({ n: 1 })
      await failing
      await broker.close()
      expect(written).not.toHaveBeenCalled()
    } finally {
      written.mockRestore()
    }
  })

  it('is no secret and little else when the broker itself is shown', async () => {
    const broker = await opened('memory:', { name: 'shop' })
    expect(inspect(broker)).toBe(`Broker { adapter: 'memory', name: "shop", status: 'connected', credentials: '[redacted]' }`)
    expect(JSON.parse(JSON.stringify(broker))).toEqual({ adapter: 'memory', status: 'connected' })
  })
})
