import { type ConsumeOptions, topic as makeTopic } from '@posthorn/core'
import type { Adapter, Capabilities, Outgoing, Session } from '@posthorn/core/adapter'
import type { Clause } from '../clause.ts'
import type { OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { capConfiguration } from './cap-configuration.ts'
import { capLimits } from './cap-limits.ts'
import { capParity } from './cap-parity.ts'
import { connectChanged } from './spied.ts'
import { utf8 } from './stored.ts'

const words: { readonly [K in Exclude<keyof Capabilities, 'limits'>]: readonly Capabilities[K][] } = {
  // In each list the first word claims more.
  settlement: ['each', 'prefix'],
  retention: ['log', 'queue'],
  positions: ['native', 'none'],
  attempts: ['native', 'none'],
  delay: ['native', 'none'],
  replay: ['native', 'none'],
  forward: ['atomic', 'none'],
  unroutable: ['reported', 'silent'],
  headers: ['native', 'envelope'],
}
const wordNames = Object.keys(words) as (keyof typeof words)[]
const limitNames = ['messageBytes', 'batch', 'batches', 'holdMs', 'unsettled', 'delayMs'] as const

async function manifest(t: Trial): Promise<void> {
  const { best } = t.adapter()
  const opened = await t.open()
  const { session } = opened
  const { capabilities } = session
  const first = structuredClone(capabilities)
  t.equal(capabilities, first, 'a structured clone of the manifest')
  t.equal(Object.keys(capabilities).sort(), [...wordNames, 'limits'].sort(), 'the keys of the manifest')
  t.equal(Object.keys(capabilities.limits).sort(), [...limitNames].sort(), 'the keys of its limits')
  for (const name of wordNames) {
    const allowed: readonly string[] = words[name]
    t.ok(allowed.includes(capabilities[name]), `${name} holds an allowed word, not ${String(capabilities[name])}`)
    t.ok(
      allowed.indexOf(capabilities[name]) >= allowed.indexOf(best[name]),
      `${name} claims ${capabilities[name]}, and adapter.best only ${best[name]}`,
    )
  }
  for (const name of limitNames) {
    const value = capabilities.limits[name]
    if (name === 'holdMs' && value === null) t.equal(best.limits.holdMs, null, 'holdMs of adapter.best where the session holds for ever')
    else {
      t.ok(Number.isSafeInteger(value) && (value ?? 0) > 0, `limits.${name} is a whole number above 0, not ${value}`)
      t.ok((value ?? Infinity) <= (best.limits[name] ?? Infinity), `limits.${name} is at most that of adapter.best`)
    }
  }
  refusesWrites(t, capabilities, 'the manifest')
  refusesWrites(t, capabilities.limits, 'its limits')

  const same = (when: string): void => {
    t.ok(session.capabilities === capabilities, `the manifest is the same object ${when}`)
    t.equal(structuredClone(session.capabilities), first, `the manifest ${when}`)
  }
  const topic = t.name('manifest')
  await declareRaw(session, topic)
  same('after declaring')
  for (let n = 0; n < 10; n++) {
    const report = await session.publish([rawOutgoing(t, topic, `m${n}`)], new AbortController().signal)
    t.equal(report.failures.length, 0, `failures of message ${n}`)
    if (n === 4) same('after 5 messages')
  }
  same('after 10 messages')
  await opened.close()
  same('after close')
}

function refusesWrites(t: Trial, object: object, what: string): void {
  t.ok(Object.isFrozen(object), `${what} is frozen`)
  for (const key of Object.keys(object)) {
    let threw = false
    try {
      ;(object as Record<string, unknown>)[key] = 'changed'
    } catch {
      threw = true
    }
    t.ok(threw, `writing ${key} of ${what} throws`)
  }
}

async function declareRaw(session: Session, name: string): Promise<void> {
  await session.declare(
    {
      topics: [
        {
          name,
          keyed: false,
          partitions: null,
          retentionMs: null,
          groups: [{ name: 'workers', start: 'earliest' }],
          delays: [],
          create: true,
          native: undefined,
        },
      ],
    },
    new AbortController().signal,
  )
}
function rawOutgoing(t: Trial, topic: string, id: string): Outgoing {
  return {
    id,
    key: null,
    body: utf8(`{"id":"${id}"}`),
    time: t.wall(),
    expiresAt: null,
    attributes: Object.freeze({ source: 'suite', type: topic }),
    headers: null,
    transport: null,
    place: { topic, role: 'main', group: null },
    partition: null,
    delayMs: 0,
    slot: null,
  }
}

interface Demand {
  readonly capability: 'attempts' | 'replay' | 'forward'
  readonly met: boolean
  readonly options: (other: OrderTopic, t: Trial) => Partial<ConsumeOptions>
}

async function demands(t: Trial): Promise<void> {
  const { attempts, replay, forward } = t.capabilities
  const list: readonly Demand[] = [
    { capability: 'attempts', met: attempts === 'native', options: () => ({ maxDeliveries: 5 }) },
    { capability: 'replay', met: replay === 'native', options: () => ({ startFrom: new Date(t.wall() - 1000) }) },
    { capability: 'forward', met: forward === 'atomic', options: (other) => ({ forward: { atomic: true, to: [other] } }) },
  ]
  const broker = await t.connect()
  const other = t.topic('other')
  await broker.declare(other)
  const handled: string[] = []
  for (const { capability, met, options } of list) {
    const missing = t.topic(`missing-${capability}`)
    const kept = t.topic(`kept-${capability}`)
    const orders = t.orders(5)
    await t.send(broker, kept, orders)
    const before = await t.auditor.counters()
    const positions = await t.auditor.positions(kept.name, 'workers')
    for (const topic of [missing, kept]) {
      const started = t.now()
      const consuming = broker.consume(topic, t.consumeOptions(options(other, t)), (message) => {
        handled.push(message.id)
      })
      if (met) {
        const consumer = await consuming
        if (topic === kept) await t.settled(kept)
        await consumer.close()
        continue
      }
      const error = await t.rejects(consuming, 'UNSUPPORTED', {
        naming: [`"${capability}"`, topic.name],
        what: `a demand for ${capability} on ${topic.name}`,
      })
      t.atMost(t.now() - started, t.slack(2000), `milliseconds until the demand for ${capability} was refused`)
      t.ok(/\b(use|leave|without|instead|set)\b/i.test(error.message), `the refusal says what to do: ${error.message}`)
    }
    if (met) {
      t.equal(handled.splice(0).sort(), orders.map(({ id }) => id).sort(), `what came where ${capability} is given`)
      continue
    }
    const after = await t.auditor.counters()
    t.equal(after.requests.declare ?? 0, before.requests.declare ?? 0, `declares during a refused demand for ${capability}`)
    t.equal(after.requests.subscribe ?? 0, before.requests.subscribe ?? 0, `subscriptions during a refused demand for ${capability}`)
    t.equal(await t.auditor.exists(missing.name), false, `a topic exists after a refused demand for ${capability}`)
    t.equal(await t.auditor.positions(kept.name, 'workers'), positions, 'positions after a refused demand')
    t.equal(await t.auditor.remaining(kept.name, 'workers'), orders.length, 'messages left after a refused demand')
    t.equal(handled, [], 'messages handled by a refused consumer')
  }
}

async function wayDown(t: Trial): Promise<void> {
  const inner = t.adapter()
  const touched: string[] = []
  let client: unknown
  const broker = await connectChanged(t, (session) => {
    client = typeof session.client === 'object' && session.client !== null ? watched(session.client, touched) : session.client
    return { client }
  })
  try {
    const topic = t.topic('native')
    const seen = t.recorder()
    await t.send(broker, topic, t.orders(10))
    await broker.consume(topic, t.consumeOptions(), seen.handler())
    await t.until('10 are done', () => seen.done === 10)
    t.ok(broker.native(inner.name as never) === client, "broker.native gives the session's own client")
    await t.rejects(
      Promise.resolve().then(() => broker.native('unheard-of' as never)),
      'INVALID_ARGUMENT',
      { naming: [inner.name], what: 'native of another adapter' },
    )
    await t.auditor.deny('publish', topic.name)
    const error = await t.rejects(
      broker.producer(topic, { timeoutMs: 2000 }).send(t.orders(1)[0] as never),
      ['UNAUTHORIZED', 'UNAVAILABLE', 'TIMED_OUT', 'INTERNAL'],
      { what: 'a denied send' },
    )
    t.ok(error.cause instanceof Error && error.cause.message !== '', "an error keeps the client's own as its cause")
    await t.auditor.allow()
  } finally {
    await broker.close()
  }
  t.equal(touched, [], "what core did with the client's own object")
}

function watched(client: object, touched: string[]): object {
  const tell =
    (what: string) =>
    (target: object, ...rest: unknown[]): never => {
      touched.push(`${what} ${String(rest[0])}`)
      return (Reflect as unknown as Record<string, (...args: unknown[]) => never>)[what]?.(target, ...rest) as never
    }
  return new Proxy(client, {
    get: tell('get'),
    set: tell('set'),
    has: tell('has'),
    ownKeys: tell('ownKeys'),
    apply: tell('apply'),
  } as ProxyHandler<object>)
}

async function conflicts(t: Trial): Promise<void> {
  const first = t.topic('conflict', { partitions: 4 })
  const other = t.topic('conflict', { partitions: 3 })
  const broker = await t.connect()
  const orders = t.orders(20)
  await t.send(broker, first, orders)
  const before = await t.auditor.read(t.place(first))
  const second = await t.connect()
  await t.rejects(second.declare(other), 'CONFLICT', { naming: [first.name], what: 'another partition count' })
  await t.rejects(
    second.consume(other, t.consumeOptions(), () => {}),
    'CONFLICT',
    { naming: [first.name], what: 'a consumer with another partition count' },
  )
  t.equal(await t.auditor.read(t.place(first)), before, 'what is stored after a conflict')
  t.equal((await t.auditor.positions(first.name, 'workers')).length, 4, 'partitions after a conflict')

  // Looking without making is asked of the contract itself: the public way there is each adapter's own `native` option.
  const opened = await t.open()
  const plan = {
    name: t.name('looked-for'),
    keyed: true,
    partitions: 4,
    retentionMs: null,
    groups: [{ name: 'workers', start: 'earliest' as const }],
    delays: [],
    native: undefined,
  }
  const look = (): Promise<unknown> => opened.session.declare({ topics: [{ ...plan, create: false }] }, new AbortController().signal)
  t.equal(await codeOf(t.adapter(), look()), 'NOT_FOUND', 'looking for a topic that is not there')
  t.equal(await t.auditor.exists(plan.name), false, 'looking made a topic')
  await opened.session.declare({ topics: [{ ...plan, groups: [], create: true }] }, new AbortController().signal)
  t.equal(await codeOf(t.adapter(), look()), 'NOT_FOUND', 'looking for a group that is not there')
  await opened.session.declare({ topics: [{ ...plan, create: true }] }, new AbortController().signal)
  t.equal(await codeOf(t.adapter(), look()), undefined, 'looking for what is there')

  const name = t.adapter().name
  const illegal = makeTopic(t.name('illegal'), { groups: ['workers'], native: { [name]: { unheardOf: 1 } } as never })
  await t.rejects(
    broker.consume(illegal, t.consumeOptions(), () => {}),
    'INVALID_ARGUMENT',
    { naming: ['unheardOf'], what: 'an illegal declaration at start' },
  )
  await t.rejects(broker.producer(illegal).send('x' as never), 'INVALID_ARGUMENT', {
    naming: ['unheardOf'],
    what: 'an illegal declaration at the first send',
  })
  t.equal(await t.auditor.exists(illegal.name), false, 'an illegal declaration made a topic')
  const seen = t.recorder()
  await broker.consume(first, t.consumeOptions(), seen.handler())
  await t.settled(first)
  seen.exactly(orders)
}

async function codeOf(adapter: Adapter, promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise
    return undefined
  } catch (error) {
    return adapter.explain(error).code
  }
}

async function undeclaredGroup(t: Trial): Promise<void> {
  const topic = t.topic('groups', { groups: ['email', 'push'] })
  const broker = await t.connect()
  const before = await t.auditor.counters()
  const misspelt = (): Promise<unknown> => broker.consume(topic, t.consumeOptions({ group: 'emial' }), () => {})
  await t.rejects(misspelt(), 'INVALID_ARGUMENT', { naming: ['emial', '"email"'], what: 'a group that the topic does not name' })
  await t.rejects(broker.pull(topic, { group: 'emial' }), 'INVALID_ARGUMENT', { naming: ['"email"'], what: 'the same by pull' })
  await t.rejects(
    broker.consumeBatch(topic, { group: 'emial' }, async () => {}),
    'INVALID_ARGUMENT',
    { naming: ['"email"'], what: 'the same in batches' },
  )
  const after = await t.auditor.counters()
  t.equal(await t.auditor.exists(topic.name), false, 'the refused consumer made the topic')
  t.equal(after.requests.subscribe ?? 0, before.requests.subscribe ?? 0, 'subscriptions of a refused consumer')

  await broker.declare(topic)
  await t.rejects(misspelt(), 'INVALID_ARGUMENT', { naming: ['"email"'], what: 'the same once the topic is there' })
  const orders = t.orders(20)
  await broker.declare(topic, { groups: ['emial'] })
  const declared = t.recorder('emial')
  await broker.consume(topic, t.consumeOptions({ group: 'emial' }), declared.handler())
  await t.send(broker, topic, orders)
  await t.until('the declared group gets all', () => declared.done === orders.length)
  declared.exactly(orders)

  const open = t.topic('open', { groups: [] })
  const anyone = t.recorder('anyone')
  await broker.consume(open, t.consumeOptions({ group: 'anyone' }), anyone.handler())
  const more = t.orders(20)
  await t.send(broker, open, more)
  await t.until('a group of a topic without groups gets all', () => anyone.done === more.length)
  anyone.exactly(more)
}

/** The CAP clauses, in the order of the page. */
export const cap: readonly Clause[] = [
  { id: 'CAP-1', title: 'The manifest is plain, frozen, complete and the same from open to close', needs: 'memory', run: manifest },
  { id: 'CAP-2', title: 'A demand that cannot be met is refused at start', needs: 'memory', run: demands },
  ...capParity.filter(({ id }) => id === 'CAP-3'),
  ...capConfiguration,
  ...capParity.filter(({ id }) => id === 'CAP-6' || id === 'CAP-7'),
  { id: 'CAP-8', title: 'The way down works', needs: 'memory', run: wayDown },
  { id: 'CAP-9', title: 'Topology conflicts show at start', needs: 'memory', run: conflicts },
  ...capLimits.filter(({ id }) => id === 'CAP-10'),
  ...capParity.filter(({ id }) => id === 'CAP-11'),
  ...capLimits.filter(({ id }) => id === 'CAP-12'),
  { id: 'CAP-13', title: 'A group that nobody declared is refused', needs: 'memory', run: undeclaredGroup },
]
