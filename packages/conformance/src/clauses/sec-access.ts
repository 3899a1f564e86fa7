// SEC-1, 2 and 7: secrets, passwords and rights.

import { inspect } from 'node:util'
import { connect, type MessagingError } from '@posthorn/core'
import { type Adapter, connectWith, MessagingError as Failure, secrets } from '@posthorn/core/adapter'
import { realClock } from '../clock.ts'
import type { Operation } from '../harness.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { changedAdapter } from './spied.ts'

/** SEC-1: secrets where applications and clients put them. The standing check looks at all that is shown, here and in every clause. */
export async function noSecretShown(t: Trial): Promise<void> {
  const { canary } = t
  const shown: string[] = []
  const look = (error: unknown): void => {
    shown.push(error instanceof Error ? `${error.message} ${error.stack} ${inspect(error, { depth: 8, showHidden: true })}` : String(error))
  }
  // URLs of brokers whose adapters are not here, and URLs that are none.
  for (const url of [
    `amqp://user:${canary}@localhost:1/%2f`,
    `redis://:${canary}@localhost:1`,
    `kafka://u:${encodeURIComponent(canary)}@localhost:1`,
    `mqtt://localhost:1?password=${canary}`,
    `nonsense://user:${canary}@localhost`,
    `memory:?password=${canary}`,
    `redis//user:${canary}@localhost`,
  ]) {
    await t.real(connect(url, { log: false, connectTimeoutMs: 50 }).then((broker) => broker.close(), look))
  }
  t.atLeast(shown.length, 5, 'URLs that were refused')
  for (const options of [
    { url: 'memory:', memory: { password: canary } },
    { url: 'memory:', redis: { password: canary, nested: { token: canary } } },
  ]) {
    await t.real(connect(options as never, { log: false }).then((broker) => broker.close(), look))
  }

  // A client whose errors tell everything.
  const talkative = (): Error =>
    Object.assign(new Error(`cannot reach amqp://user:${canary}@host/: bad password ${canary}`), { command: { args: ['AUTH', canary] } })
  secrets.remember(canary)
  const changed: Adapter = changedAdapter(t.adapter(), (inner) => ({
    publish: async (batch) => ({
      failures: batch.map((_, index) => ({ index, outcome: 'failed', error: talkative() })),
      position: () => null,
    }),
    browse: () => Promise.reject(talkative()),
    inspect: () => Promise.reject(talkative()),
    declare: inner.declare.bind(inner),
  }))
  const clock = t.server.simulation?.clock ?? realClock
  const broker = await connectWith({ clock, random: t.random }, changed, {
    name: 'suite',
    log: (entry) => void shown.push(inspect(entry, { depth: 8, showHidden: true })),
  })
  const topic = t.topic('jobs', { partitions: 1 })
  const producer = broker.producer(topic, { timeoutMs: 2000 })
  await producer.send(t.orders(1)[0] as Order).catch(look)
  await broker.lag(topic, 'workers').catch(look)
  await broker.deadLetters(topic, 'workers').purge({ all: true }).catch(look)
  await broker.close()
  t.atLeast(shown.length, 8, 'errors and log entries')

  // Handlers that tell everything, up to the dead letters, on a broker of the suite and with the log that people see.
  const own = await t.connect({ log: undefined })
  await own.consume(topic, t.consumeOptions({ retry: { attempts: 2, firstDelayMs: 10 } }), () => {
    throw talkative()
  })
  await t.send(own, topic, t.orders(2))
  await t.settled(topic)
  t.struck('lines on stderr', t.stderr.length)
  const letters = await t.auditor.read(t.place(topic, 'dead'))
  t.equal(letters.length, 2, 'dead letters')
  shown.push(...letters.map((letter) => inspect(letter, { depth: 8, maxStringLength: null })))
  for await (const letter of own.deadLetters(topic, 'workers').list()) shown.push(inspect(letter, { depth: 8 }))
  for (const { event } of t.events()) shown.push(inspect(event, { depth: 8, showHidden: true }))
  const hits = shown.filter((text) => text.includes(canary))
  if (hits.length > 0)
    t.fail(`the planted secret is shown ${hits.length} times; first: ${(hits[0] as string).replaceAll(canary, '<secret>').slice(0, 500)}`)
}

/** SEC-2 */
export async function wrongPassword(t: Trial): Promise<void> {
  const { canary } = t
  const shown: string[] = []
  for (const url of [`amqp://us er:${canary}@[bad:port`, `://${canary}`, `user:${canary}@host`, `redis:/user:${canary}@host`, '']) {
    const error: unknown = await t.real(
      connect(url, { log: false, connectTimeoutMs: 50 }).then(
        () => undefined,
        (problem: unknown) => problem,
      ),
    )
    const code = (error as MessagingError | undefined)?.code
    // An adapter that is not installed is told before its URL is read.
    t.ok(
      code === 'INVALID_ARGUMENT' || code === 'UNAVAILABLE',
      `an unparsable URL is refused with INVALID_ARGUMENT, but it was ${code}: ${String(error).replaceAll(canary, '<secret>')}`,
    )
    shown.push(inspect(error, { depth: 8, showHidden: true }))
  }
  // What the server says to a wrong password or an unknown user.
  await t.auditor.deny('connect', null)
  const began = t.now()
  const attempts = new Set<number>()
  const clock = t.server.simulation?.clock ?? realClock
  const counted: Adapter = {
    ...t.adapter(),
    open(context, signal) {
      attempts.add(t.now())
      return t.adapter().open(context, signal)
    },
  }
  const refused = await t.rejects(
    connectWith({ clock, random: t.random }, counted, { name: 'suite', log: false, connectTimeoutMs: 10_000 }),
    'UNAUTHORIZED',
    { what: 'connecting without the right to' },
  )
  shown.push(inspect(refused, { depth: 8, showHidden: true }))
  t.atMost(t.now() - began, 10_000 + t.slack(1000), 'milliseconds until a wrong password is told')
  t.atMost(attempts.size, 1 + (t.now() - began) / 1000, 'tries with a wrong password')
  await t.auditor.allow()

  // The password changes while connected: one try a second at most, then for good or back again.
  const topic = t.topic('jobs')
  const statuses: string[] = []
  const broker = await t.connect({ onStatus: (status) => void statuses.push(status) })
  const seen = t.recorder()
  const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler())
  const ended = consumer.closed.then(
    () => 'closed',
    (error: MessagingError) => error.code,
  )
  await t.auditor.deny('connect', null)
  const before = t.link(broker).connects().length
  const cutAt = t.now()
  t.link(broker).cut()
  await t.pass(30_000)
  const tries = t.link(broker).connects().slice(before)
  t.atMost(tries.length, 3 + (t.now() - cutAt) / 1000, 'tries with a password that is wrong by now')
  t.ok(broker.status === 'failed' || broker.status === 'recovering', `the status tells it: ${broker.status}, after ${statuses.join(', ')}`)
  if (broker.status === 'failed') t.equal(await ended, 'UNAUTHORIZED', 'how the consumer ended')
  await t.auditor.allow()
  t.equal(
    shown.filter((text) => text.includes(canary)),
    [],
    'errors that show the password',
  )
}

/** SEC-7 */
export async function deniedIsLocal(t: Trial): Promise<void> {
  for (const operation of ['publish', 'declare', 'subscribe', 'settle'] as const) await deny(t, operation)
}

async function deny(t: Trial, operation: Operation): Promise<void> {
  const [topic, other] = [t.topic(`${operation}-denied`), t.topic(`${operation}-allowed`)]
  const broker = await t.connect()
  const seen = t.recorder(operation)
  const [mine, theirs] = [t.recorder(`${operation} denied`), t.recorder(`${operation} allowed`)]
  await broker.declare(other)
  if (operation !== 'declare') await broker.declare(topic)
  await broker.consume(other, t.consumeOptions(), theirs.handler())
  const consumer = operation === 'settle' ? await broker.consume(topic, t.consumeOptions(), mine.handler()) : undefined
  await t.auditor.deny(operation, topic.name)
  const producer = broker.producer(topic, { timeoutMs: 3000 })
  const [order] = t.orders(1) as [Order]
  if (operation === 'publish' || operation === 'declare') {
    const error = await t.rejects(producer.send(order, { id: order.id }), 'UNAUTHORIZED', {
      naming: [topic.name],
      what: `a send where "${operation}" is denied`,
    })
    t.equal(
      { outcome: error.outcome, retryable: error.retryable },
      { outcome: 'failed', retryable: false },
      `what a send is told where "${operation}" is denied`,
    )
  }
  if (operation === 'declare')
    await t.rejects(broker.declare(topic), 'UNAUTHORIZED', { naming: [topic.name, 'declare'], what: 'a declaration that is denied' })
  if (operation === 'subscribe') {
    await t.rejects(broker.consume(topic, t.consumeOptions(), seen.handler()), 'UNAUTHORIZED', {
      naming: [topic.name, 'consume'],
      what: 'a consumer that is denied',
    })
  }
  if (consumer !== undefined) {
    await producer.send(order, { id: order.id })
    const end = await Promise.race([
      consumer.closed.then(
        () => 'closed',
        (error: MessagingError) => error,
      ),
      t.sleep(20_000).then(() => 'still open'),
    ])
    t.ok(end instanceof Failure, `a consumer that may not settle ends with its cause, but it is ${String(end)}`)
    const { code, message } = end as MessagingError
    t.equal(code, 'UNAUTHORIZED', 'how a consumer ends that may not settle')
    t.ok(message.includes(topic.name) && message.includes('settle'), `its cause names operation and topic: ${message}`)
    t.atLeast(await t.auditor.remaining(topic.name, 'workers'), 1, 'what was not settled is still there')
  }
  // All other topics work, before and after.
  const fine = t.orders(10)
  await t.send(broker, other, fine)
  await t.settled(other)
  theirs.exactly(fine)
  t.equal(broker.status, 'connected', `the status where "${operation}" on one topic is denied`)
  await t.auditor.allow()
  const again = await t.connect()
  const later = t.recorder(`${operation} later`)
  await again.consume(topic, t.consumeOptions(), later.handler())
  const [second] = t.orders(1) as [Order]
  await t.send(again, topic, [second])
  await t.until(`what was denied works again (${operation})`, () => later.of(second).length === 1, t.takeoverMs)
  await t.settled(topic, 'workers', t.takeoverMs)
  await again.close()
  await broker.close()
}
