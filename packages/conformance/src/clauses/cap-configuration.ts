import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, topic as makeTopic, unchecked } from '@posthorn/core'
import { loadConfig } from '@posthorn/core/config'
import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'

type Bad = readonly [what: string, naming: readonly string[], call: () => unknown]

/** Runs a bad call whether it throws at once or rejects. */
const asPromise = async (call: () => unknown): Promise<unknown> => await call()

async function byArgument(t: Trial): Promise<void> {
  const { address } = t.server
  const adapter = t.adapter()
  const joiner = address.includes('?') ? '&' : '?'
  const handler = (): void => {}
  const broker = await t.connect()
  const topic = t.topic('refused')
  const group = 'workers'
  const own = { [adapter.name]: { unheardOf: 1 } } as never
  const list: readonly Bad[] = [
    ['a misspelt option of connect', ['"connectTimeoutMs"'], () => connect(adapter, { connectTimeOutMs: 5 } as never)],
    ['an unknown parameter in the URL', ['unheardOf'], () => connect(`${address}${joiner}unheardOf=1`)],
    ['an unknown scheme', ['kafak'], () => connect('kafak://localhost')],
    ['a duration as text', ['"connectTimeoutMs"', '60s'], () => connect(adapter, { connectTimeoutMs: '60s' as never })],
    ['NaN', ['"connectTimeoutMs"'], () => connect(adapter, { connectTimeoutMs: Number.NaN })],
    ['a negative number', ['"timeoutMs"'], () => broker.producer(topic, { timeoutMs: -1 })],
    ['2^53', ['"maxBuffered"'], () => broker.producer(topic, { maxBuffered: 2 ** 53 })],
    ['a wrong type', ['"log"'], () => connect(adapter, { log: 'yes' as never })],
    ['no group', ['"group"'], () => broker.consume(topic, {} as never, handler)],
    ['a misspelt option of consume', ['"maxUnsettled"'], () => broker.consume(topic, { group, maxUnsetled: 5 } as never, handler)],
    ['a fraction', ['"concurrency"'], () => broker.consume(topic, { group, concurrency: 1.5 }, handler)],
    ['an infinite wait', ['"waitMs"'], () => broker.consumeBatch(topic, { group, waitMs: Number.POSITIVE_INFINITY }, async () => {})],
    ['a misspelt policy', ['"attempts"'], () => broker.consume(topic, { group, retry: { atempts: 3 } as never }, handler)],
    ['an unknown word', ['"startFrom"'], () => broker.consume(topic, { group, startFrom: 'begining' as never }, handler)],
    ['a misspelt option of a topic', ['"partitions"'], () => makeTopic(t.name('refused'), { partitons: 4 } as never)],
    [
      'an unknown key under our own native of a topic',
      ['unheardOf'],
      () => broker.declare(makeTopic(t.name('refused'), { groups: [group], native: own })),
    ],
  ]
  for (const [what, naming, call] of list) {
    const before = await t.auditor.counters()
    const error = await t.real(t.rejects(asPromise(call), 'INVALID_ARGUMENT', { naming, what }))
    const after = await t.auditor.counters()
    t.ok(!error.retryable, `${what}: the same call is not worth repeating`)
    t.equal(after.connections, before.connections, `${what}: connections`)
    t.equal(after.requests.connect ?? 0, before.requests.connect ?? 0, `${what}: tries to connect`)
    t.equal(after.requests.subscribe ?? 0, before.requests.subscribe ?? 0, `${what}: subscriptions`)
    t.equal(after.requests.publish ?? 0, before.requests.publish ?? 0, `${what}: publishes`)
  }
  t.equal(await t.auditor.exists(topic.name), false, 'bad options made a topic')
  // The contract gives a consumer's own options to the adapter when it subscribes, which is after the topic was declared.
  const requests = (await t.auditor.counters()).requests.subscribe ?? 0
  await t.rejects(broker.consume(topic, { group, native: own }, handler), 'INVALID_ARGUMENT', {
    naming: ['unheardOf'],
    what: 'an unknown key under our own native of a consumer',
  })
  t.equal((await t.auditor.counters()).requests.subscribe ?? 0, requests, 'subscriptions of a consumer with an unknown native key')

  // Options of other adapters pass: switching stays one line.
  const elsewhere = { 'some-other-adapter': { whatever: true } } as never
  const portable = makeTopic(t.name('portable'), { schema: unchecked<Order>(), groups: [group], native: elsewhere })
  const consumer = await broker.consume(portable, { group, native: elsewhere }, handler)
  await consumer.close()
}

async function byFileAndEnvironment(t: Trial): Promise<void> {
  if (!/^(?:memory|kafka|amqps?|rediss?|mqtts?):/.test(t.server.address))
    t.notProven('no URL scheme names this adapter, so no configuration can')
  const folder = await t.real(mkdtemp(join(tmpdir(), 'posthorn-conformance-')))
  const file = join(folder, 'posthorn.config.json')
  const { address } = t.server
  // A file holds no secret; one that does is refused for that.
  const plain = address.replace(/\/\/[^@/]*@/, '//')
  const refused = async (what: string, naming: readonly string[], config: unknown, env: Record<string, string> = {}): Promise<void> => {
    await t.real(rm(file, { force: true }))
    if (config !== undefined) await t.real(writeFile(file, typeof config === 'string' ? config : JSON.stringify(config)))
    const before = await t.auditor.counters()
    await t.real(
      t.rejects(
        asPromise(async () => connect(await loadConfig(undefined, { cwd: folder, env }))),
        'INVALID_ARGUMENT',
        { naming, what },
      ),
    )
    t.equal((await t.auditor.counters()).requests.connect ?? 0, before.requests.connect ?? 0, `${what}: tries to connect`)
  }
  try {
    await refused('a misspelt key of the file', ['"brokers"'], { brokrs: { main: plain } })
    await refused('a default that is not there', ['"main"'], { default: 'mian', brokers: { main: plain } })
    await refused('a broker that is no target', ['brokers.main'], { brokers: { main: 60 } })
    await refused('a misspelt key of a target', ['url'], { brokers: { main: { ulr: plain } } })
    await refused('a file that is no JSON', ['posthorn.config.json'], '{ "brokers": ')
    await refused('an unknown scheme in the environment', ['kafak'], undefined, { POSTHORN_BROKER: 'kafak://localhost' })
    await refused('a misspelt variable', ['POSTHORN_BROKER'], { brokers: { main: plain } }, { POSTHORN_BROKR: 'main' })
    await refused('an empty variable', ['POSTHORN_BROKER'], undefined, { POSTHORN_BROKER: ' ' })
    await refused('a name that no file and no variable explains', ['"main"'], { brokers: { main: plain } }, { POSTHORN_BROKER: 'mian' })
    await refused('an unknown parameter by the environment', ['unheardOf'], undefined, {
      POSTHORN_BROKER: `${address}${address.includes('?') ? '&' : '?'}unheardOf=1`,
    })
    await refused('nothing configured', ['POSTHORN_BROKER'], undefined)
  } finally {
    await t.real(rm(folder, { recursive: true, force: true }))
  }
}

async function copied(t: Trial): Promise<void> {
  const schema = unchecked<Order>()
  const options = { schema, key: (order: Order) => order.key as string, groups: ['workers'], partitions: 4, maxBytes: 300 }
  const small = makeTopic(t.name('small'), options)
  options.maxBytes = 3000
  options.groups.push('late')
  const snapshot = { ...options, groups: [...options.groups] }
  const large = makeTopic(t.name('large'), options)
  t.equal(options, snapshot, 'the options object after two topics')

  const broker = await t.connect()
  const [order] = t.orders(1, { bytes: 1000 }) as [Order]
  await t.rejects(broker.producer(small).send(order), 'TOO_LARGE', { what: 'a body above the bound that the first topic was made with' })
  await broker.producer(large).send(order)
  await t.rejects(
    broker.consume(small, t.consumeOptions({ group: 'late' }), () => {}),
    'INVALID_ARGUMENT',
    { what: 'a group that was added after the first topic was made' },
  )

  // A consumer keeps the options that it was started with.
  const topic = t.topic('shared')
  const consumer = { ...t.consumeOptions({ group: 'workers', concurrency: 1 }), retry: { attempts: 2, firstDelayMs: 50, factor: 1 } }
  const before = structuredClone(consumer)
  const seen = t.recorder()
  await broker.consume(
    topic,
    consumer,
    seen.handler(async () => {
      await t.sleep(20)
      throw new Error('fails')
    }),
  )
  t.equal(consumer, before, 'the options object after a consumer was started')
  consumer.concurrency = 50
  consumer.retry.attempts = 9
  const orders = t.orders(10)
  await t.send(broker, topic, orders)
  await t.settled(topic, 'workers', 20_000)
  t.equal(seen.mostRunning, 1, 'handlers at once after "concurrency" of the object was raised')
  t.equal(seen.starts.length, 20, 'starts after "attempts" of the object was raised')

  // So does a producer, and a send: what the caller changes while it is on its way changes nothing.
  const headers: Record<string, string> = { one: 'before' }
  const sent = { headers, id: 'first' }
  const value: { -readonly [K in keyof Order]: Order[K] } = { ...(t.orders(1)[0] as Order) }
  const copy = { ...value }
  const kept = t.topic('kept')
  const sending = broker.producer(kept).send(value, sent)
  headers['one'] = 'after'
  headers['two'] = 'added'
  sent.id = 'second'
  value.pad = 'changed'
  t.equal((await sending).id, 'first', 'the id of a send whose options were changed behind it')
  let received: { value: Order; headers: Readonly<Record<string, string>> } | undefined
  await broker.consume(kept, t.consumeOptions(), (message) => {
    received = { value: message.value, headers: message.headers }
  })
  await t.until('it arrives', () => received !== undefined)
  t.equal(received?.value, copy, 'the value of a send whose object was changed behind it')
  t.equal(received?.headers['one'], 'before', 'a header that was changed behind the send')
  t.equal(received?.headers['two'], undefined, 'a header that was added behind the send')
}

/** CAP-4 and CAP-5. */
export const capConfiguration: readonly Clause[] = [
  {
    id: 'CAP-4',
    title: 'Bad configuration is refused before any I/O',
    needs: 'memory',
    async run(t) {
      await byArgument(t)
      await byFileAndEnvironment(t)
    },
  },
  { id: 'CAP-5', title: 'Options are copied, never shared or changed', needs: 'memory', run: copied },
]
