import { inMemoryOnce, type Message, topic as makeTopic, unchecked } from '@posthorn/core'
import { type Clause, when } from '../clause.ts'
import type { RawMessage } from '../harness.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Trial } from '../trial.ts'
import { existingNames } from './int-existing.ts'
import { lenientReader, oldMessagesAreReadable, theyReadOurs } from './int-wire.ts'
import { counted, schemaOf } from './schema.ts'
import { foreign, lettersWhen, readMeant, utf8 } from './stored.ts'

interface Received {
  readonly id: string
  readonly type: string
  readonly source: string | undefined
  readonly time: number | undefined
  readonly key: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly value: unknown
}
const received = ({ id, type, source, time, key, headers, value }: Message<unknown>): Received => ({
  id,
  type,
  source,
  time: time?.getTime(),
  key,
  headers: { ...headers },
  value,
})

/** Writes them one after the other and answers what the handler got of each. */
async function roundTrip(t: Trial, base: string, raws: readonly RawMessage[]): Promise<readonly Received[]> {
  const broker = await t.connect()
  const topic = makeTopic(t.name(base), { schema: unchecked<unknown>(), key: () => 'unused', groups: ['workers'], partitions: 4 })
  await broker.declare(topic)
  const seen: Received[] = []
  await broker.consume(topic, t.consumeOptions(), (message) => void seen.push(received(message)))
  for (const [n, raw] of raws.entries()) {
    await t.auditor.write(topic.name, raw)
    await t.until(`message ${n} of ${base} is handled`, () => seen.length > n, {
      seen: () => t.events('dead-lettered').map(({ event }) => event['note']),
    })
  }
  await t.settled(topic)
  return seen
}

async function binaryMode(t: Trial): Promise<void> {
  const time = Date.UTC(2024, 1, 29, 12, 30, 45, 678)
  const attributes = {
    specversion: '1.0',
    source: '/their/service',
    type: 'com.example.order',
    subject: 'order 17',
    datacontenttype: 'application/json',
  }
  const raws: readonly RawMessage[] = [
    { id: 'A234-1234-1234', key: 'ada', body: utf8('{"n":1,"ü":"☺"}'), time, attributes, headers: { tenant: 'ü ☺', empty: '' } },
    { id: 'no-key', body: utf8('[1,2]'), time, attributes },
    { id: 'no-time', key: '', body: utf8('"text"'), attributes },
  ]
  const seen = await roundTrip(
    t,
    'binary',
    raws.map((raw) => foreign(t, raw)),
  )
  const head = { type: 'com.example.order', source: '/their/service' }
  t.equal(
    seen,
    [
      { id: 'A234-1234-1234', ...head, time, key: 'ada', headers: { tenant: 'ü ☺', empty: '' }, value: { n: 1, ü: '☺' } },
      { id: 'no-key', ...head, time, key: undefined, headers: {}, value: [1, 2] },
      { id: 'no-time', ...head, time: undefined, key: '', headers: {}, value: 'text' },
    ],
    'what handlers get of binary events',
  )
}

async function structuredMode(t: Trial): Promise<void> {
  const base = {
    specversion: '1.0',
    id: 'E1',
    source: '/theirs',
    type: 'com.example.made',
    time: '2024-02-29T12:30:45.678Z',
    partitionkey: 'ada',
    datacontenttype: 'application/json',
    comexampleother: 'x',
  }
  const value = { n: 7, text: 'ü' }
  const documents = [
    { ...base, data: value },
    { ...base, data_base64: Buffer.from(JSON.stringify(value)).toString('base64') },
  ]
  const spellings = [
    'application/cloudevents+json',
    'application/cloudevents+json; charset=UTF-8',
    'Application/CloudEvents+JSON;charset="utf-8"',
  ]
  const raws = spellings.flatMap((datacontenttype) =>
    documents.map((document): RawMessage => ({ body: utf8(JSON.stringify(document)), attributes: { datacontenttype } })),
  )
  const seen = await roundTrip(t, 'structured', raws)
  const expected: Received = {
    id: 'E1',
    type: 'com.example.made',
    source: '/theirs',
    time: Date.parse(base.time),
    key: 'ada',
    headers: {},
    value,
  }
  t.equal(
    seen,
    raws.map(() => expected),
    'what handlers get of structured events, in three spellings, with data and data_base64',
  )
}

async function plainMessages(t: Trial): Promise<void> {
  const groups = ['email', 'push']
  const topic = makeTopic(t.name('plain'), { schema: counted, key: ({ n }) => String(n), groups, partitions: 4 })
  const broker = await t.connect()
  await broker.declare(topic)
  const seen = new Map<string, Received[]>()
  for (const group of groups) {
    const list: Received[] = []
    seen.set(group, list)
    await broker.consume(topic, t.consumeOptions({ group }), (message) => void list.push(received(message)))
  }
  // Any key in any partition: whoever wrote it knew nothing of our hash.
  const keys = [undefined, 'a', 'b', '']
  let n = 0
  for (const key of keys) {
    for (let partition = 0; partition < 4; partition++)
      await t.auditor.write(topic.name, { body: utf8(`{"n":${n++}}`), partition, ...(key === undefined ? {} : { key }) })
  }
  for (const group of groups) await t.settled(topic, group)
  for (const [group, list] of seen) {
    t.equal(
      list.map(({ value }) => (value as { n: number }).n).sort((a, b) => a - b),
      Array.from({ length: n }, (_, index) => index),
      `plain messages at "${group}", each once`,
    )
    for (const { type, source, time, headers } of list)
      t.equal(
        [type, source, time, headers],
        [topic.name, undefined, undefined, {}],
        `type, source, time and headers of a plain message at "${group}"`,
      )
    if (t.capabilities.headers === 'native') t.equal(new Set(list.map(({ key }) => key)), new Set(keys), 'keys of plain messages')
  }
}

/** Published by the tests of Kafka's own client: key and 32-bit murmur2. */
const published: readonly (readonly [string, number])[] = [
  ['21', -973932308],
  ['foobar', -790332482],
  ['a-little-bit-long-string', -985981536],
  ['a-little-bit-longer-string', -1486304829],
  ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
  ['abc', 479470107],
]

async function partitions(t: Trial): Promise<void> {
  const count = 97
  const topic = makeTopic(t.name('partitions'), { schema: unchecked<string>(), key: (key) => key, groups: ['workers'], partitions: count })
  const broker = await t.connect()
  const producer = broker.producer(topic)
  for (const [key, hash] of published) t.equal(partitionOfKey(key, count), (hash & 0x7fffffff) % count, `the suite's own table for ${key}`)
  const keys = [
    ...published.map(([key]) => key),
    '',
    'ключ',
    '☺☺☺',
    'k'.repeat(1024),
    ...Array.from({ length: t.size(1000) }, (_, n) => `order-${n * 7919}`),
  ]
  await Promise.all(keys.map((key) => producer.send(key)))
  const stored = new Map((await readMeant(t, t.place(topic))).map(({ key, partition }) => [key, partition]))
  for (const key of keys) t.equal(stored.get(key), partitionOfKey(key, count), `the partition of ${JSON.stringify(key.slice(0, 40))}`)
  for (const [key, hash] of published)
    t.equal(stored.get(key), (hash & 0x7fffffff) % count, `the partition of ${key} by the published hash`)
  t.atLeast(new Set(stored.values()).size, count / 2, 'partitions that are used')
}

async function edges(t: Trial): Promise<void> {
  const structured = (event: Readonly<Record<string, unknown>>): RawMessage => ({
    body: utf8(JSON.stringify({ specversion: '1.0', source: '/edge', type: 'edge', ...event })),
    attributes: { datacontenttype: 'application/cloudevents+json' },
  })
  const long = 'abcdefghijklmnopqrst'
  const attributes = { specversion: '1.0', source: '/edge', type: 'edge' }
  const seen = await roundTrip(t, 'edges', [
    foreign(t, { id: 'no-time', key: 'k', body: utf8('1'), attributes }),
    foreign(t, { id: 'tombstone', key: 'k', body: null, attributes }),
    foreign(t, { id: 'long-name', key: 'k', body: utf8('1'), attributes: { ...attributes, [long]: 'kept' } }),
    structured({ id: 'no-data', partitionkey: 'k' }),
    structured({ id: 'null-data', partitionkey: 'k', data: null }),
    // Every type of the specification: boolean, integer, string, binary, URI, URI-reference, timestamp.
    structured({
      id: 'types',
      partitionkey: 'k',
      data: 1,
      boolattr: true,
      intattr: -2147483648,
      binattr: 'AAEC',
      uriattr: 'https://example.com/a?b#c',
      urirefattr: '../a',
      timeattr: '2024-02-29T12:30:45Z',
      time: '2024-02-29T13:30:45.5+01:00',
    }),
    structured({
      id: 'zero',
      partitionkey: 'k',
      data: 0,
      time: '1985-04-12T23:20:50.52Z',
      dataschema: 'https://example.com/schema',
      subject: '',
    }),
  ])
  const head = { type: 'edge', source: '/edge', key: 'k', headers: {} }
  t.equal(
    seen,
    [
      { id: 'no-time', ...head, time: undefined, value: 1 },
      { id: 'tombstone', ...head, time: undefined, value: null },
      { id: 'long-name', ...head, time: undefined, value: 1 },
      { id: 'no-data', ...head, time: undefined, value: null },
      { id: 'null-data', ...head, time: undefined, value: null },
      { id: 'types', ...head, time: Date.UTC(2024, 1, 29, 12, 30, 45, 500), value: 1 },
      { id: 'zero', ...head, time: Date.UTC(1985, 3, 12, 23, 20, 50, 520), value: 0 },
    ].map((each) => ({
      id: each.id,
      type: each.type,
      source: each.source,
      time: each.time,
      key: each.key,
      headers: each.headers,
      value: each.value,
    })),
    'what handlers get of edge cases',
  )
  if (t.capabilities.headers === 'native') await batchRefused(t)
}

/** One message is one event: a batch is set aside with a reason, and nothing of it is handled. */
async function batchRefused(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('batch'), { schema: schemaOf<unknown>(() => undefined), groups: ['workers'] })
  await broker.declare(topic)
  let starts = 0
  await broker.consume(topic, t.consumeOptions(), () => {
    starts++
  })
  const event = { specversion: '1.0', id: 'b', source: '/edge', type: 'edge', data: 1 }
  await t.auditor.write(topic.name, {
    body: utf8(JSON.stringify([event, event])),
    attributes: { datacontenttype: 'application/cloudevents-batch+json; charset=utf-8' },
  })
  const [letter] = await lettersWhen(t, broker, topic, 1)
  t.equal([letter?.reason, starts], ['undecodable', 0], 'the dead letter and the starts of a batch')
  t.ok(/batch/i.test(letter?.error ?? ''), `the error says that it is a batch: ${letter?.error}`)
}

/** 100 plain messages, pairs of them with equal bodies, that two groups are given three times because their members die. */
async function deliveredThrice(
  t: Trial,
): Promise<ReadonlyMap<string, readonly { readonly id: string; readonly position: string | undefined }[]>> {
  const groups = ['email', 'push']
  const topic = t.topic('plain', { groups })
  const sender = await t.connect()
  await sender.declare(topic)
  for (let n = 0; n < 100; n++) await t.auditor.write(topic.name, { body: utf8(`{"n":${n % 50}}`) })
  const deliveries = new Map<string, readonly { readonly id: string; readonly position: string | undefined }[]>()
  for (const group of groups) {
    const all: { readonly id: string; readonly position: string | undefined }[] = []
    for (let round = 0; round < 3; round++) {
      const seen = t.recorder(`${group} ${round}`)
      const member = await t.member({
        topic,
        group,
        recorder: seen,
        options: { concurrency: 100, maxUnsettled: 100 },
        ...(round < 2 ? { acts: [{ then: 'never' as const }] } : {}),
      })
      await t.until(`all 100 are handed out to "${group}", round ${round}`, () => seen.starts.length >= 100, {
        withinMs: t.takeoverMs + 5000,
        seen: () => seen.starts.length,
      })
      if (round < 2) {
        t.struck('running handlers', seen.running)
        member.kill()
      } else await t.settled(topic, group)
      t.equal(seen.starts.length, 100, `deliveries to "${group}" in round ${round}`)
      all.push(...seen.starts.map(({ id, position }) => ({ id, position })))
      if (round === 2) await member.close()
    }
    deliveries.set(group, all)
  }
  return deliveries
}

async function stableIds(t: Trial): Promise<void> {
  const name = t.name('plain')
  for (const [group, all] of await deliveredThrice(t)) {
    t.equal(all.length, 300, `deliveries to "${group}"`)
    for (const { id, position } of all) t.equal(id, `${name}@${position}`, `the id of a plain message at "${group}"`)
    t.equal(
      new Set(all.map(({ id }) => id)).size,
      100,
      `different ids at "${group}": each the same three times, and equal bodies stay two messages`,
    )
  }
}

async function freshIds(t: Trial): Promise<void> {
  for (const [group, all] of await deliveredThrice(t)) {
    t.equal(new Set(all.map(({ id }) => id)).size, 300, `different ids at "${group}": a fresh one per delivery`)
    t.equal(new Set(all.map(({ position }) => position)), new Set([undefined]), 'positions')
  }
  const topic = makeTopic(t.name('once'), { schema: counted, groups: ['workers'] })
  const broker = await t.connect()
  await broker.declare(topic)
  let starts = 0
  await broker.consume(topic, t.consumeOptions({ once: inMemoryOnce() }), () => {
    starts++
  })
  for (let n = 0; n < 10; n++) await t.auditor.write(topic.name, { body: utf8(`{"n":${n}}`) })
  const letters = await lettersWhen(t, broker, topic, 10)
  t.equal(
    [new Set(letters.map(({ reason }) => reason)), letters.length, starts],
    [new Set(['no-id']), 10, 0],
    'reasons, dead letters and starts of messages that "once" could not recognise',
  )
  await broker.producer(topic).send({ n: 1 })
  await t.until('a message with an id is handled', () => starts === 1)
}

/** The INT clauses, in the order of the page. */
export const int: readonly Clause[] = [
  { id: 'INT-1', title: 'They read ours', needs: 'memory', run: theyReadOurs },
  { id: 'INT-2', title: 'We read theirs', needs: 'memory', run: binaryMode },
  { id: 'INT-3', title: 'Structured mode is recognised', needs: 'memory', run: structuredMode },
  { id: 'INT-4', title: 'A plain message is a message', needs: 'memory', run: plainMessages },
  { id: 'INT-5', title: 'Native producers hit our partitions', needs: 'memory', run: partitions },
  { id: 'INT-6', title: 'Strict writer, lenient reader', needs: 'memory', run: lenientReader },
  { id: 'INT-7', title: 'Edge vectors of the specification', needs: 'memory', run: edges },
  { id: 'INT-9', title: 'Old messages stay readable', needs: 'memory', run: oldMessagesAreReadable },
  { id: 'INT-10', title: 'Existing names continue where they stand', needs: 'memory', run: existingNames },
  {
    id: 'INT-11',
    title: 'A message without id gets a stable one',
    needs: 'memory',
    gate: when('positions', 'native'),
    run: stableIds,
    other: freshIds,
  },
]
