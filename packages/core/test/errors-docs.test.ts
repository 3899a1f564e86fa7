import { readFileSync } from 'node:fs'
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Broker, connect, type ErrorCode, isMessagingError, type LogEntry, topic, unchecked } from '@posthorn/core'
import { type Adapter, connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it, vi } from 'vitest'
import * as z from 'zod'

// The compiler keeps this list equal to the union: a code that is missing here, or too many, is a type error.
const codes: { readonly [Code in ErrorCode]: true } = {
  UNAVAILABLE: true,
  TIMED_OUT: true,
  CANCELLED: true,
  CLOSED: true,
  UNAUTHORIZED: true,
  NOT_FOUND: true,
  CONFLICT: true,
  TOO_LARGE: true,
  INVALID_MESSAGE: true,
  INVALID_ARGUMENT: true,
  UNSUPPORTED: true,
  UNDECODABLE: true,
  INTERNAL: true,
}
const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')
const sections = page.split(/^## /m).slice(1)
const headings = sections.map((section) => section.slice(0, section.indexOf('\n')))
const section = (heading: string): string => sections[headings.indexOf(heading)] ?? ''
const examples = (heading: string): string[] => [...section(heading).matchAll(/```text\n([^\n]+)\n```/g)].map((match) => match[1] ?? '')
// The page shows each text on one line, as another broker would say it.
const asShown = (text: string): string =>
  text.replace(/\s+/g, ' ').replace('on memory:', 'on rabbitmq:').replace('which memory does', 'which rabbitmq does')

describe('docs/errors.md', () => {
  it('has one heading for each code, and none for a code that does not exist', () => {
    expect(headings.filter((heading) => /^[A-Z_]+$/.test(heading)).sort()).toEqual(Object.keys(codes).sort())
  })

  it.each(Object.keys(codes))('shows what %s looks like', (code) => {
    expect(examples(code)[0]).toMatch(/^cannot /)
  })

  it('shows the five that everybody meets as they are', async () => {
    const entries: LogEntry[] = []
    const texts = [await notInstalled()]
    await using broker = await connect('memory:?profile=rabbitmq', { log: false })
    await using warned = await connect('memory:', { log: (entry) => entries.push(entry) })
    expect(warned.status).toBe('connected')
    texts.push(
      await text('NOT_FOUND', broker.producer(topic('orders.placed')).send(1)),
      entries[0]?.message ?? '',
      await text('INVALID_MESSAGE', refusedByReceivers(broker)),
      await text(
        'INVALID_ARGUMENT',
        broker.consume(topic('orders.placed', { groups: ['email', 'push'] }), { group: 'emial' }, () => undefined),
      ),
    )
    expect(examples('The five that everybody meets')).toEqual(texts)
  })

  it('shows texts that this library writes', async () => {
    const server = memoryServer({ profile: 'rabbitmq' })
    const keyed = (partitions: number) =>
      topic('orders.placed', { schema: unchecked<string>(), key: () => 'k', partitions, groups: ['email'] })
    await using first = await connect(memory({ server }), { log: false })
    await first.declare(keyed(4))
    await using broker = await connect(memory({ server }), { log: false })
    const handler = (): void => undefined
    expect(examples('CONFLICT')).toEqual([await text('CONFLICT', broker.consume(keyed(8), { group: 'email' }, handler))])
    const placed = topic('orders.placed', { schema: unchecked<string>(), key: () => 'k', groups: ['email'] })
    expect(examples('TOO_LARGE')).toEqual([await text('TOO_LARGE', broker.producer(placed).send('x'.repeat(1_400_000)))])
    expect(examples('INVALID_MESSAGE')).toEqual([await text('INVALID_MESSAGE', refusedByReceivers(broker))])
    expect(examples('INVALID_ARGUMENT')).toEqual([
      await text('INVALID_ARGUMENT', broker.consume(placed, { group: 'email', concurency: 5 } as never, handler)),
    ])
    expect(examples('UNSUPPORTED')).toEqual([
      await text('UNSUPPORTED', broker.consume(placed, { group: 'email', startFrom: new Date(0) }, handler)),
    ])
    expect(examples('CANCELLED')).toEqual([await text('CANCELLED', connect('memory:', { signal: AbortSignal.abort() }))])
    await broker.close()
    expect(examples('CLOSED')).toEqual([await text('CLOSED', (async () => broker.producer(placed))())])
    expect(examples('UNAVAILABLE')).toEqual([await notReachable()])
  })
})

async function text(code: ErrorCode, work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    if (isMessagingError(error, code)) return asShown(error.message)
    throw error
  }
  throw new Error(`nothing was refused with ${code}`)
}

function refusedByReceivers(broker: Broker): Promise<unknown> {
  const dated = topic('orders.placed', { schema: z.object({ placedAt: z.date() }), groups: ['email'] })
  return broker.producer(dated).send({ placedAt: new Date(0) })
}

async function notInstalled(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'posthorn-app-')))
  await writeFile(join(folder, 'package.json'), '{"name":"shop"}')
  vi.spyOn(process, 'cwd').mockReturnValue(folder)
  const { argv } = process
  process.argv = [argv[0] ?? '', join(folder, 'main.js')]
  try {
    return (await text('UNAVAILABLE', connect('kafka://a,b:9093,c'))).replace(folder, '/srv/shop')
  } finally {
    process.argv = argv
    vi.restoreAllMocks()
    await rm(folder, { recursive: true })
  }
}

async function notReachable(): Promise<string> {
  const clock = virtualClock()
  const adapter: Adapter = {
    ...memory(),
    name: 'redis',
    open: () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:6379')),
    explain: () => ({ code: 'UNAVAILABLE', retryable: true, outcome: 'none' }),
  }
  return text('UNAVAILABLE', drive(clock, connectWith({ clock, random: () => 0 }, adapter, { log: false })))
}
