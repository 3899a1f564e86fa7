// What happens to a message at its end is never silent.

import type { StandardSchemaV1 } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Start } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { deadLettersOf, failing } from './support.ts'

const picky: StandardSchemaV1<Order, Order> = {
  '~standard': {
    version: 1,
    vendor: 'suite',
    validate: (value) => {
      const { id } = (value ?? {}) as Partial<Order>
      return typeof id === 'string' ? { value: value as Order } : { issues: [{ message: 'expected string', path: ['id'] }] }
    },
  },
}

export async function neverSilent(t: Trial): Promise<void> {
  const broker = await t.connect()
  for (const onInvalid of [undefined, 'drop', 'stop'] as const) {
    const topic = t.topic(`invalid-${onInvalid ?? 'default'}`, { partitions: 1, with: { schema: picky } })
    const seen = t.recorder(onInvalid)
    const good = t.orders(2, { keys: 1 })
    const consumer = await broker.consume(topic, t.consumeOptions({ ...(onInvalid === undefined ? {} : { onInvalid }) }), seen.handler())
    const died = consumer.closed.then(
      () => 'closed',
      (error: unknown) => error,
    )
    await t.send(broker, topic, good.slice(0, 1))
    const body = new TextEncoder().encode('{"nothing":"of ours"}')
    await t.auditor.write(topic.name, {
      id: `bad-${onInvalid}`,
      key: 'key-0',
      body,
      attributes: { datacontenttype: 'application/json', source: 'elsewhere' },
      partition: 0,
    })
    if (onInvalid === 'stop') {
      const end = await died
      t.ok(end instanceof Error, `closed rejects with the cause, but it ended with ${String(end)}`)
      t.equal(consumer.state, 'failed', 'state of the consumer that stopped')
      t.atLeast(await t.auditor.remaining(topic.name, 'workers'), 1, 'messages left unsettled by a consumer that stopped')
      continue
    }
    await t.send(broker, topic, good.slice(1))
    await t.settled(topic)
    seen.exactly(good)
    const reasons = (await deadLettersOf(broker, topic)).map((letter) => letter.reason)
    t.equal(reasons, onInvalid === 'drop' ? [] : ['invalid'], `dead letters (${onInvalid ?? 'default'})`)
    if (onInvalid === 'drop')
      t.atLeast(
        t.events().filter(({ name, event }) => /^(?:dropped|invalid)$/.test(name) && event['topic'] === topic.name).length,
        1,
        'events about the drop',
      )
    t.ok(
      t.logs.some((entry) => entry.topic === topic.name && entry.level !== 'debug'),
      `a log line tells what became of the invalid message (${onInvalid ?? 'default'})`,
    )
  }
  const topic = t.topic('failing')
  const seen = t.recorder('failing')
  await broker.consume(topic, t.consumeOptions(), seen.handler(failing))
  const orders = t.orders(3, { keys: 3 })
  await t.send(broker, topic, orders)
  await t.settled(topic)
  const told = t
    .events('dead-lettered')
    .filter(({ event }) => event['topic'] === topic.name)
    .map(({ event }) => event['id'])
  t.equal([...told].sort(), orders.map((order) => order.id).sort(), 'dead letters that were reported')
  t.ok(
    t.logs.some((entry) => entry.topic === topic.name && /dead/.test(entry.event)),
    'a log line about dead letters',
  )
}

export async function noCrashGuard(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect()
  const refused = broker.consume(topic, t.consumeOptions({ maxDeliveries: 5 }), () => undefined)
  await t.rejects(refused, 'UNSUPPORTED', { naming: ['attempts', topic.name], what: 'a crash guard where the server counts nothing' })
  const seen = t.recorder()
  const [deadly, other] = t.orders(2, { keys: 2 }) as [Order, Order]
  await t.send(broker, topic, [deadly, other])
  for (let round = 0; round < 6; round++) {
    const member = await t.member({
      topic,
      recorder: seen,
      options: { concurrency: 1 },
      acts: [{ when: { ids: [deadly.id] }, then: 'exit' }],
    })
    await member.died
  }
  t.equal(attempts(seen.of(deadly)), [1, 1, 1, 1, 1, 1], 'attempts of the message that kills its process')
  const survivor = t.recorder('survivor')
  await t.member({ topic, recorder: survivor })
  await t.until(
    'both are done',
    () => survivor.of(deadly).length === 1 && seen.of(other).length + survivor.of(other).length >= 1,
    t.takeoverMs + 10_000,
  )
  await t.settled(topic)
}

/** The attempts as they were started. */
export function attempts(starts: readonly Start[]): readonly number[] {
  return starts.map((start) => start.attempt)
}
