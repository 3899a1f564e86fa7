import { fileURLToPath } from 'node:url'
import { connect, type Message } from '@posthorn/core'
import { memory, memoryServer } from '@posthorn/core/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  findBroker,
  type Language,
  type PolyglotProgram,
  polyglotProgram,
  type RunningBroker,
  startBroker,
} from '../../../tools/brokers/index.mjs'
import { type Notification, type Order, startEmailService, type Topics, topicsNamed } from '../src/email-service.ts'
import { readOrders } from './orders.ts'
import { start } from './program.ts'
import { type Meant, namesOn } from './wire.ts'

// A program in another language, with its usual client alone, produces orders; our service handles them and produces notifications; the
// program consumes these. Each end says what it saw, and both must have seen the same.

const strict = process.env['POSTHORN_STRICT'] === '1'
const languages: readonly Language[] = ['python', 'go', 'java']
const orders = readOrders(60)

const programs = new Map<Language, PolyglotProgram | Error>()
beforeAll(async () => {
  for (const language of languages) {
    const folder = fileURLToPath(new URL(`../${language}`, import.meta.url))
    programs.set(language, await polyglotProgram(language, folder).catch((error: Error) => error))
  }
}, 600_000)

type Skip = (note?: string) => never
function programOf(language: Language, skip: Skip): PolyglotProgram {
  const found = programs.get(language)
  if (found === undefined || 'run' in found) return found as PolyglotProgram
  if (!strict && 'code' in found && found.code === 'LANGUAGE_MISSING') skip(found.message)
  throw found
}

/** What a program says of a message that it sent or received. */
interface Told extends Omit<Meant, 'key'> {
  readonly partitionkey: string
  readonly partition: number
}
interface Consumed extends Told {
  readonly value: Notification
  readonly wire: {
    readonly key: string | null
    readonly contentType: string
    readonly names: Readonly<Record<string, string>>
    readonly body: string
  }
}
interface Checked {
  readonly event: Readonly<Record<string, unknown>>
  readonly structured: string
}

const meant = ({ id, source, type, time, partitionkey, traceparent, headers }: Told): Meant => ({
  id,
  source,
  type,
  // A program may leave out a fraction that is nought.
  time: new Date(time).toISOString(),
  key: partitionkey,
  traceparent,
  headers,
})
function received({ id, source, type, time, key, headers }: Message): Meant {
  const { traceparent, ...rest } = headers
  const texts = { source: source ?? '', time: time?.toISOString() ?? '', key: key ?? '', traceparent: traceparent ?? '' }
  return { id, type, ...texts, headers: rest }
}
const byId = <T extends { readonly id: string }>(list: readonly T[]): readonly T[] => [...list].sort((a, b) => (a.id < b.id ? -1 : 1))
const causeOf = ({ value }: Consumed) => ({ causationid: value.orderId, correlationid: `cart of ${value.orderId}` })
const traceOf = ({ traceparent }: Meant): string => traceparent.slice(3, 35)

interface Exchange {
  /** What the program sent. */
  readonly produced: readonly Told[]
  /** What our services saw of it, and of what they sent. */
  readonly mailed: readonly Message<Order>[]
  readonly audited: readonly Message<Notification>[]
  /** What the program saw of what our service sent. */
  readonly consumed: readonly Consumed[]
}

async function exchange(url: string, program: PolyglotProgram, topics: Topics): Promise<Exchange> {
  const broker = await connect(url, { name: 'email-service', log: false })
  const mailed: Message<Order>[] = []
  const audited: Message<Notification>[] = []
  try {
    await broker.declare([topics.orderPlaced, topics.notificationSent])
    const consuming = start(
      program.run,
      ['consume', url, topics.notificationSent.name, `reader-of-${topics.notificationSent.name}`, String(orders.length)],
      [],
    )
    const produced = (await start(program.run, ['produce', url, topics.orderPlaced.name], orders).lines) as Told[]
    await consuming.ready
    await startEmailService(broker, topics, (message) => void mailed.push(message))
    const consumed = (await consuming.lines) as Consumed[]
    // Behind everything that was sent before: whatever came twice has come.
    await broker.consume(topics.notificationSent, { group: 'audit' }, (message) => void audited.push(message))
    await expect.poll(() => audited.length, { timeout: 60_000 }).toBeGreaterThanOrEqual(orders.length)
    return { produced, mailed, audited, consumed }
  } finally {
    await broker.close()
  }
}

/** What the SDK wrote of these events, read by us: the documents that it makes are messages of ours. */
async function readBack(checked: readonly Checked[], topics: Topics): Promise<readonly (Meant & { readonly value: Notification })[]> {
  const server = memoryServer()
  const broker = await connect(memory({ server }), { log: false })
  const seen: (Meant & { readonly value: Notification })[] = []
  await broker.declare(topics.notificationSent)
  for (const { structured } of checked)
    server.write(topics.notificationSent.name, {
      body: Buffer.from(structured, 'base64'),
      attributes: { datacontenttype: 'application/cloudevents+json' },
    })
  await broker.consume(topics.notificationSent, { group: 'audit' }, (message) => {
    seen.push({ ...received(message), value: message.value })
  })
  await expect.poll(() => seen.length, { timeout: 10_000 }).toBe(checked.length)
  await broker.close()
  return seen
}

for (const name of ['redis', 'rabbitmq', 'kafka', 'mqtt'] as const) {
  describe(`on ${name}`, () => {
    let server: RunningBroker | undefined
    let missing: string | undefined
    beforeAll(async () => {
      const found = strict ? { available: true as const } : await findBroker(name)
      if (found.available) server = await startBroker(name)
      else missing = found.reason
    }, 120_000)
    afterAll(() => server?.stop(), 60_000)

    for (const language of languages) {
      it(`a plain program in ${language} and our services exchange orders and notifications`, { timeout: 240_000 }, async ({ skip }) => {
        if (server === undefined) return skip(`${name} is not to be had here: ${missing}`)
        const program = programOf(language, skip)
        const topics = topicsNamed(language)
        const { produced, mailed, audited, consumed } = await exchange(server.url, program, topics)

        // Theirs, seen by us: each once, and everything as they sent it.
        expect(produced.map(({ id }) => id)).toEqual(orders.map(({ orderId }) => orderId))
        expect(byId(mailed.map(received))).toEqual(byId(produced.map(meant)))
        expect(new Map(mailed.map(({ value }) => [value.orderId, value]))).toEqual(new Map(orders.map((order) => [order.orderId, order])))
        const [first] = produced
        expect(first).toMatchObject({ source: `/${language}`, type: 'shop.order.placed', headers: { tenant: 'north' } })

        // Ours, seen by them: the same, and on the wire exactly what docs/wire.md says.
        expect(byId(consumed.map(meant))).toEqual(byId(audited.map(received)))
        const sent = new Map(audited.map(({ id, value }) => [id, value]))
        for (const message of consumed) {
          expect(message.value).toEqual(sent.get(message.id))
          expect(message).toMatchObject({ source: 'email-service', type: topics.notificationSent.name, headers: { tenant: 'north' } })
          expect(message.wire).toEqual({
            key: name === 'kafka' ? message.partitionkey : null,
            contentType: 'application/json',
            names: namesOn[name]?.({ ...meant(message), ...causeOf(message) }),
            body: JSON.stringify(message.value),
          })
        }

        // A notification is of the trace of its order, and a hop of its own.
        const traces = new Map(produced.map((order) => [order.id, meant(order)]))
        for (const message of consumed) {
          const order = traces.get(message.value.orderId)
          expect(traceOf(meant(message))).toBe(order === undefined ? undefined : traceOf(order))
          expect(message.traceparent).not.toBe(order?.traceparent)
        }

        // Both put a key into the same partition.
        const theirs = new Map(produced.map(({ partitionkey, partition }) => [partitionkey, partition]))
        expect(new Map(consumed.map(({ partitionkey, partition }) => [partitionkey, partition]))).toEqual(theirs)
        expect(new Set(theirs.values())).toEqual(new Set([0, 1, 2, 3]))

        // The official SDK takes ours for CloudEvents, with every attribute, and we read what it writes.
        const checked = (await start(program.check, [name], consumed).lines) as Checked[]
        for (const [at, { event }] of checked.entries()) {
          const message = consumed[at] as Consumed
          const { id, source, type, partitionkey, value, time } = message
          const { time: itsTime, ...rest } = event
          const attributes = { id, source, type, partitionkey, ...causeOf(message) }
          expect(rest).toEqual({ specversion: '1.0', ...attributes, datacontenttype: 'application/json', data: value })
          expect(new Date(String(itsTime)).toISOString()).toBe(time)
        }
        expect(byId((await readBack(checked, topics)).map(({ value, ...message }) => ({ ...message, ...value })))).toEqual(
          // Trace and application headers are no attributes: a document of the SDK has none.
          byId(consumed.map((message) => ({ ...meant(message), traceparent: '', headers: {}, ...message.value }))),
        )
      })
    }
  })
}
