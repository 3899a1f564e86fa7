// DLQ-1, 2, 6, 7 and 11: what is shown of dead letters, and what is removed.

import { type DeadLetter, type DeadLetterChoice, deadLetter } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { foreign, lettersWhen, sameBytes, utf8 } from './stored.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'

const idsOf = (letters: readonly { readonly id: string }[]): readonly string[] => letters.map(({ id }) => id)
const sorted = (ids: readonly string[]): readonly string[] => [...ids].sort()

async function listed(letters: AsyncIterable<DeadLetter>): Promise<readonly DeadLetter[]> {
  const all: DeadLetter[] = []
  for await (const letter of letters) all.push(letter)
  return all
}

/** DLQ-1 */
export async function listConsumesNothing(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { with: { type: (order: Order) => (order.seq % 2 === 0 ? 'even' : 'odd') } })
  const broker = await t.connect()
  const seen = t.recorder()
  const [failed, refused, invalid] = [t.orders(10, { keys: 2 }), t.orders(10, { keys: 2 }), t.orders(5, { keys: 2 })]
  await broker.consume(
    topic,
    t.consumeOptions({ retry: false }),
    seen.handler((message) => {
      if (refused.some(({ id }) => id === message.id)) return deadLetter('refused')
      if (invalid.some(({ id }) => id === message.id)) return deadLetter('not-wanted')
      failing()
    }),
  )
  await t.send(broker, topic, failed)
  await lettersWhen(t, broker, topic, failed.length)
  const gapMs = t.virtual ? 10_000 : 1000
  await t.pass(gapMs)
  const middle = new Date(t.wall())
  await t.pass(gapMs)
  await t.send(broker, topic, [...refused, ...invalid])
  await lettersWhen(t, broker, topic, 25)
  await t.settled(topic)
  const { list } = broker.deadLetters(topic, 'workers')
  const all = await listed(list())
  t.equal(sorted(idsOf(all)), sorted(idsOf([...failed, ...refused, ...invalid])), 'dead letters listed')
  const reasons = new Map<string, number>()
  for (const { reason } of all) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
  t.equal(Object.fromEntries(reasons), { failed: 10, refused: 10, 'not-wanted': 5 }, 'dead letters by reason')
  for (const [index, letter] of all.entries()) {
    const before = all[index - 1]
    t.ok(
      before === undefined || before.lastFailedAt <= letter.lastFailedAt,
      `the list is oldest first, but ${letter.id} comes after ${before?.id}`,
    )
  }
  t.equal(idsOf(await listed(list())), idsOf(all), 'the same list again')
  t.equal(idsOf(await listed(list({ limit: 10 }))), idsOf(all).slice(0, 10), 'the first ten')
  t.equal(await listed(list({ limit: 0 })), [], 'the first none')
  const some = async (where: (letter: DeadLetter) => boolean): Promise<readonly string[]> => sorted(idsOf(await listed(list({ where }))))
  t.equal(await some(({ reason }) => reason === 'refused'), sorted(idsOf(refused)), 'dead letters by a reason')
  t.equal(await some(({ lastFailedAt }) => lastFailedAt < middle), sorted(idsOf(failed)), 'dead letters before a time')
  const odd = [...failed, ...refused, ...invalid].filter(({ seq }) => seq % 2 === 1)
  t.equal(await some(({ type }) => type === 'odd'), sorted(idsOf(odd)), 'dead letters of a type')
  const [first] = await listed(list({ where: ({ reason }) => reason === 'refused', limit: 1 }))
  t.equal(first?.reason, 'refused', 'the first that is wanted, though others come before it')
  // Left in the middle: the rest stays.
  for await (const letter of list()) if (letter.id === all[3]?.id) break
  t.equal(idsOf(await listed(list())), idsOf(all), 'the list after all this')
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, 25, 'entries that the auditor finds after all this')
}

/** DLQ-2 */
export async function tellsEverything(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('jobs', { with: { codec: 'bytes' } as never })
  await broker.declare(topic)
  const bodies: Readonly<Record<string, Uint8Array | null>> = {
    some: utf8('{"some":1}'),
    binary: Uint8Array.of(0, 255, 128, 10),
    empty: new Uint8Array(0),
    none: null,
  }
  const writtenAt = t.wall()
  const place = async (name: string, id: string, body: Uint8Array | null): Promise<string> =>
    t.auditor.write(
      name,
      foreign(t, {
        id,
        key: 'key',
        body,
        time: writtenAt - 5000,
        headers: { 'x-shop': 'north' },
        attributes: { specversion: '1.0', source: 'elsewhere', type: 'thing', datacontenttype: 'application/octet-stream' },
        partition: 1,
      }),
    )
  const positions = new Map<string, string>()
  for (const [id, body] of Object.entries(bodies)) positions.set(id, await place(topic.name, id, body))
  await broker.consume(topic, t.consumeOptions({ retry: { attempts: 2, firstDelayMs: 100, factor: 1 } }), (message) => {
    throw new Error(`no to ${message.id}`)
  })
  const letters = await lettersWhen(t, broker, topic, 4)
  await t.settled(topic)
  for (const [id, body] of Object.entries(bodies)) {
    const letter = letters.find((each) => each.id === id)
    if (letter === undefined) t.fail(`${id} has no dead letter`, [id])
    const { key, bytes, headers, source, type, reason, attempts, error, time, group, position } = letter
    t.ok(sameBytes(bytes, body ?? new Uint8Array(0)), `the bytes of ${id} are what was sent: ${Buffer.from(bytes).toString('hex')}`)
    t.equal(letter.value === null, body === null, `${id} has a null value exactly if its body is null`)
    t.equal(
      { key, shop: headers['x-shop'], source, type, reason, attempts, error, time: time?.getTime(), from: letter.topic, group },
      {
        key: 'key',
        shop: 'north',
        source: 'elsewhere',
        type: 'thing',
        reason: 'failed',
        attempts: 2,
        error: `no to ${id}`,
        time: writtenAt - 5000,
        from: topic.name,
        group: 'workers',
      },
      `the entry of ${id}`,
    )
    const [first, last] = [letter.firstFailedAt.getTime(), letter.lastFailedAt.getTime()]
    t.ok(first >= writtenAt && last >= first + 100 && last <= t.wall(), `the first failure ${first} and the last ${last} of ${id} are true`)
    if (t.capabilities.positions === 'native') t.equal(position, positions.get(id), `the position of ${id}`)
  }
  await undecodable(t)
}

async function undecodable(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = t.topic('undecodable')
  await broker.declare(topic)
  const body = utf8('{"broken":')
  await t.auditor.write(
    topic.name,
    foreign(t, {
      id: 'broken',
      key: 'key',
      body,
      headers: { 'x-shop': 'north' },
      attributes: { specversion: '1.0', source: 'elsewhere', type: 'thing', datacontenttype: 'application/json' },
      partition: 0,
    }),
  )
  await broker.consume(topic, t.consumeOptions(), () => undefined)
  const [letter] = await lettersWhen(t, broker, topic, 1)
  if (letter === undefined) t.fail('what cannot be decoded has no dead letter')
  t.ok(sameBytes(letter.bytes, body), 'the bytes of what cannot be decoded are what was sent')
  const { id, key, value, reason, source, headers, error } = letter
  t.equal(
    { id, key, value, reason, source, shop: headers['x-shop'] },
    { id: 'broken', key: 'key', value: undefined, reason: 'undecodable', source: 'elsewhere', shop: 'north' },
    'the entry of what cannot be decoded',
  )
  t.atLeast(error?.length ?? 0, 10, 'letters of why it cannot be decoded')
}

/** DLQ-6 */
export async function purges(t: Trial): Promise<void> {
  const ageMs = t.virtual ? 3_600_000 : 4000
  const topic = t.topic('jobs')
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions({ retry: false }), failing)
  const [old, young] = [t.orders(30), t.orders(30)]
  await t.send(broker, topic, old)
  await lettersWhen(t, broker, topic, old.length)
  await t.pass(ageMs)
  const since = t.wall() - ageMs / 2
  await t.send(broker, topic, young)
  await lettersWhen(t, broker, topic, 60)
  const { purge } = broker.deadLetters(topic, 'workers')
  const chosen = [old[3], young[4], young[7]].map((order) => (order as Order).id)
  t.equal(await purge({ ids: [...chosen, 'nobody'] }), { purged: 3 }, 'purged by ids')
  const without = (orders: readonly Order[]): readonly string[] => sorted(idsOf(orders).filter((id) => !chosen.includes(id)))
  t.equal(sorted(await deadIds(broker, topic)), sorted([...without(old), ...without(young)]), 'what is left after a purge by ids')
  const progress: number[] = []
  const { purged } = await purge({ where: ({ lastFailedAt }) => lastFailedAt.getTime() < since }, { onProgress: (n) => progress.push(n) })
  t.equal(purged, without(old).length, 'purged by age')
  t.equal(progress.at(-1), purged, 'the last progress of a purge')
  t.equal(sorted(await deadIds(broker, topic)), without(young), 'what is left after a purge by age')
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, without(young).length, 'entries that the auditor finds')
  t.equal(await purge({ ids: chosen }), { purged: 0 }, 'purged by ids that are gone')
  t.equal((await t.auditor.read(t.place(topic, 'retry'))).length, 0, 'messages that a purge handed out again')
}

/** DLQ-7 */
export async function ownDeadLetters(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { groups: ['north', 'south'] })
  const broker = await t.connect()
  for (const group of ['north', 'south']) {
    await broker.consume(topic, t.consumeOptions({ group, retry: false }), () => {
      throw new Error(`not in the ${group}`)
    })
  }
  const orders = t.orders(5, { keys: 5 })
  await t.send(broker, topic, orders)
  for (const group of ['north', 'south']) {
    const letters = await lettersWhen(t, broker, topic, orders.length, group)
    t.equal(sorted(idsOf(letters)), sorted(idsOf(orders)), `dead letters of the ${group}`)
    for (const letter of letters)
      t.equal(
        { group: letter.group, error: letter.error },
        { group, error: `not in the ${group}` },
        `the entry of ${letter.id} in the ${group}`,
      )
  }
  // One id from two sources.
  const [order] = t.orders(1) as [Order]
  for (const source of ['shop', 'bank', 'shop']) {
    const attributes = { specversion: '1.0', source, type: topic.name, datacontenttype: 'application/json' }
    await t.auditor.write(
      topic.name,
      foreign(t, { id: order.id, key: order.key, body: utf8(JSON.stringify(order)), attributes, partition: 0 }),
    )
  }
  await t.settled(topic, 'north')
  await t.settled(topic, 'south')
  for (const group of ['north', 'south']) {
    const sources = (await deadLettersOf(broker, topic, group)).filter(({ id }) => id === order.id).map(({ source }) => source)
    t.equal(sorted(sources.map(String)), ['bank', 'shop'], `sources of the entries with one id in the ${group}`)
  }
  await broker.deadLetters(topic, 'north').purge({ all: true })
  t.equal(
    (await deadIds(broker, topic, 'south')).length,
    orders.length + 2,
    'dead letters of the south after those of the north were removed',
  )
}

/** DLQ-11 */
export async function chosenMustBeSaid(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  await broker.consume(topic, t.consumeOptions({ retry: false }), failing)
  const orders = t.orders(5)
  await t.send(broker, topic, orders)
  await lettersWhen(t, broker, topic, orders.length)
  const tools = broker.deadLetters(topic, 'workers')
  // What the types forbid, a script in plain JavaScript may still do.
  const wrong: readonly unknown[] = [
    undefined,
    null,
    {},
    { all: false },
    { all: undefined },
    { all: true, ids: [] },
    { ids: ['a'], where: () => true },
    { all: true, where: () => true },
    'all',
    true,
    [],
    { id: 'a' },
    { ids: 'a' },
    { where: 'all' },
    () => true,
  ]
  for (const choice of wrong) {
    for (const verb of ['replay', 'purge'] as const) {
      await t.rejects(tools[verb](choice as DeadLetterChoice), 'INVALID_ARGUMENT', {
        what: `${verb} of ${JSON.stringify(choice) ?? String(choice)}`,
        naming: [topic.name],
      })
    }
  }
  t.equal(await tools.replay({ ids: [] }), { replayed: 0, left: orders.length }, 'a replay of no ids')
  t.equal(await tools.purge({ ids: [] }), { purged: 0 }, 'a purge of no ids')
  t.equal(sorted(await deadIds(broker, topic)), sorted(idsOf(orders)), 'dead letters after all this')
  t.equal((await t.auditor.read(t.place(topic, 'retry'))).length, 0, 'messages handed out again by all this')
  t.equal(await tools.purge({ all: true }), { purged: orders.length }, 'a purge of all')
}
