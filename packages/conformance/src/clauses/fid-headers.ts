import { type Codec, topic as makeTopic, unchecked } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Trial } from '../trial.ts'
import { applicationHeaders, foreign, lettersWhen, readMeant, utf8 } from './stored.ts'
import { allWays, travel } from './travel.ts'

const ascii = (from: number, to: number): string => Array.from({ length: to - from }, (_, n) => String.fromCharCode(from + n)).join('')
/** 18 odd strings. */
const odd: readonly string[] = [
  '../',
  'a/b',
  '\\',
  'a\\b',
  '"',
  "'",
  '"quoted"',
  ' ',
  'a b',
  '1leading',
  '☺☺☺',
  'ä',
  '<x>',
  'a=b;c',
  ascii(0, 32),
  ascii(32, 64),
  ascii(64, 96),
  ascii(96, 128),
]
/** The published rule, written again: an HTTP token for names; no CR, LF or NUL in values. */
const isName = (text: string): boolean => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)
const isValue = (text: string): boolean => !/[\r\n\0]/.test(text)

async function oddStrings(t: Trial): Promise<void> {
  const topic = makeTopic(t.name('odd'), { schema: unchecked<number>(), groups: ['workers'] })
  const broker = await t.connect()
  await broker.declare(topic)
  const headersOf = [
    ...odd.map((text) => ({ [text]: 'value' })),
    ...odd.map((text) => ({ name: text })),
    ...odd.filter(isName).map((text) => ({ [`x${text}`]: text })),
  ]
  const fine = headersOf.filter((headers) => Object.entries(headers).every(([name, value]) => isName(name) && isValue(value)))
  const producer = broker.producer(topic)
  const published = t.calls(broker).publish
  for (const headers of headersOf) {
    if (fine.includes(headers)) continue
    const error = await t.rejects(producer.send(0, { headers }), 'INVALID_ARGUMENT', { what: `the header ${JSON.stringify(headers)}` })
    t.equal(error.outcome, 'failed', 'the outcome of a bad header')
  }
  t.equal(t.calls(broker).publish, published, 'publishes of messages with bad headers')
  t.ok(fine.length >= odd.length, 'most odd strings are allowed somewhere')
  await travel(t, broker, {
    topic,
    items: fine.map((headers, value) => ({ value, options: { headers } })),
    ways: allWays,
    look: ({ headers }, way, n) => t.equal(applicationHeaders(headers), fine[n], `headers of item ${n} on its way (${way})`),
    letters: ({ headers }, n) => t.equal(applicationHeaders(headers), fine[n], `headers of dead letter ${n}`),
  })
}

async function types(t: Trial): Promise<void> {
  const topic = makeTopic(t.name('types'), { schema: unchecked<number>(), groups: ['workers'] })
  const broker = await t.connect()
  const values = [
    '',
    '007',
    '1e3',
    'true',
    'false',
    ' spaces ',
    'null',
    'undefined',
    '-0',
    'NaN',
    '[]',
    '{}',
    '"',
    '0x10',
    '1,5',
    '9007199254740993',
    'v'.repeat(8191),
  ]
  const items = [
    ...values.map((value) => ({ n: value })),
    // Names that differ by case only are two names.
    { 'X-One': 'upper', 'x-one': 'lower' },
    { constructor: 'own', toString: 'own', hasOwnProperty: 'own' } as Record<string, string>,
  ]
  await travel(t, broker, {
    topic,
    items: items.map((headers, value) => ({ value, options: { headers } })),
    ways: allWays,
    look({ headers }, way, n) {
      for (const value of Object.values(applicationHeaders(headers)))
        t.equal(typeof value, 'string', `the type of a header of item ${n} on its way (${way})`)
      t.equal(applicationHeaders(headers), items[n], `headers of item ${n} on its way (${way})`)
      t.equal(Object.getPrototypeOf(headers), null, 'headers have no prototype')
    },
    letters: ({ headers }, n) => t.equal(applicationHeaders(headers), items[n], `headers of dead letter ${n}`),
  })
  for (const bad of [7, true, null, undefined, {}, ['a', 'b'], Symbol('x'), new Date(0)]) {
    await t.rejects(broker.producer(topic).send(0, { headers: { bad: bad as never } }), 'INVALID_ARGUMENT', {
      naming: ['bad'],
      what: `a header value of type ${typeof bad}`,
    })
  }
}

async function limits(t: Trial): Promise<void> {
  let decodes = 0
  const codec: Codec = {
    contentType: 'application/json',
    encode: (value) => utf8(JSON.stringify(value)),
    decode(body) {
      decodes++
      return JSON.parse(Buffer.from(body).toString())
    },
  }
  const topic = makeTopic(t.name('limits'), { schema: unchecked<number>(), codec, groups: ['workers'] })
  const broker = await t.connect()
  const named = (count: number, size: number): Record<string, string> =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`h${String(n).padStart(3, '0')}`, 'v'.repeat(size)]))
  // 64 names of 4 bytes and values of 124: 8 KiB to the byte.
  const most = named(64, 124)
  const two = { a: 'v'.repeat(4095), b: 'v'.repeat(4095) }
  const unicode = { a: '☺'.repeat(2730), b: '' }
  const fine = [most, two, unicode]
  await travel(t, broker, {
    topic,
    items: fine.map((headers, value) => ({ value, options: { headers } })),
    ways: allWays,
    look: ({ headers }, way, n) => t.equal(applicationHeaders(headers), fine[n], `headers at the limit, item ${n} on its way (${way})`),
  })
  const published = t.calls(broker).publish
  const refused = [named(65, 1), { ...two, b: 'v'.repeat(4096) }, { ...most, h000: 'v'.repeat(125) }, { a: '☺'.repeat(2731) }]
  for (const headers of refused) {
    await t.rejects(broker.producer(topic).send(0, { headers }), 'INVALID_ARGUMENT', {
      what: `${Object.keys(headers).length} headers above a limit`,
    })
  }
  t.equal(t.calls(broker).publish, published, 'publishes of messages with too many headers')

  decodes = 0
  let starts = 0
  const consumer = await broker.consume(topic, t.consumeOptions(), () => {
    starts++
  })
  await t.auditor.write(
    topic.name,
    foreign(t, { id: 'flood', body: utf8('1'), headers: named(5000, 1), attributes: { source: 'elsewhere', type: 'x' } }),
  )
  await t.auditor.write(topic.name, foreign(t, { id: 'after', body: utf8('2'), attributes: { source: 'elsewhere', type: 'x' } }))
  await t.settled(topic)
  // Looking at the dead letter decodes it, so the count is taken before.
  const decoded = decodes
  const [letter] = await lettersWhen(t, broker, topic, 1)
  // On a wire without headers they are inside the body, and so may the id be.
  if (t.capabilities.headers === 'native') t.equal(letter?.id, 'flood', 'the dead letter')
  t.equal([letter?.reason, starts, decoded], ['undecodable', 1, 1], 'reason, starts and decodes around a message with 5,000 headers')
  await consumer.close()
}

/** Every transport name that docs/wire.md lists. */
const documented = new Set([
  'traceparent',
  'tracestate',
  'baggage',
  'ph-due',
  'ph-hop',
  'ph-copy',
  'ph-attempt',
  'ph-key',
  'ph-reason',
  'ph-attempts',
  'ph-error',
  'ph-first',
  'ph-last',
  'ph-topic',
  'ph-group',
  'ph-position',
  'ph-body',
  'ph-expires',
  'ph-raw',
])
const attributeNames = new Set(['specversion', 'source', 'type', 'subject', 'datacontenttype', 'traceparent', 'tracestate', 'baggage'])

async function internal(t: Trial): Promise<void> {
  const topic = makeTopic(t.name('internal'), { schema: unchecked<number>(), groups: ['workers', 'keep'] })
  const broker = await t.connect()
  const headers = { mine: 'yes' }
  const leaked = (names: readonly string[]): readonly string[] =>
    names.filter((name) => name !== 'mine' && name !== 'traceparent' && name !== 'tracestate' && name !== 'baggage')
  const look = async (): Promise<void> => {
    for (const role of ['main', 'delay', 'retry', 'dead'] as const) {
      for (const stored of await readMeant(t, t.place(topic, role))) {
        t.equal(
          Object.keys(stored.transport).filter((name) => !documented.has(name)),
          [],
          `undocumented transport names at ${role}`,
        )
        t.equal(
          Object.keys(stored.attributes).filter((name) => !attributeNames.has(name)),
          [],
          `undocumented attributes at ${role}`,
        )
        t.equal(leaked(Object.keys(stored.headers)), [], `internal names among the application's headers at ${role}`)
        if (role === 'main')
          t.equal(
            Object.keys(stored.transport).filter((name) => name.startsWith('ph-') && name !== 'ph-body'),
            [],
            'names of copies in the topic itself',
          )
      }
    }
  }
  await travel(t, broker, {
    topic,
    items: [
      { value: 1, options: { headers } },
      { value: 2, options: { headers } },
    ],
    ways: allWays,
    look({ headers: seen, id }) {
      t.equal(leaked(Object.keys(seen)), [], `internal names in the headers of ${id}`)
      t.equal(seen['mine'], 'yes', `the application's own header of ${id}`)
    },
    async letters({ headers: seen }) {
      t.equal(leaked(Object.keys(seen)), [], 'internal names in the headers of a dead letter')
      await look()
    },
  })
  await look()
  for (const name of [
    'ce_id',
    'ce-id',
    'CE_Type',
    'ph-attempt',
    'PH-anything',
    'cloudEvents_id',
    'cloudevents-type',
    'content-type',
    'Content-Type',
  ]) {
    await t.rejects(broker.producer(topic).send(1, { headers: { [name]: 'x' } }), 'INVALID_ARGUMENT', {
      naming: [name],
      what: `the reserved header ${name}`,
    })
  }
}

/** FID-2 to FID-4 and FID-9. */
export const fidHeaders: readonly Clause[] = [
  { id: 'FID-2', title: 'Header names and values survive', needs: 'memory', run: oddStrings },
  { id: 'FID-3', title: 'Header values keep their type', needs: 'memory', run: types },
  { id: 'FID-4', title: 'Header limits are definite', needs: 'memory', run: limits },
  { id: 'FID-9', title: 'Internal names do not leak', needs: 'memory', run: internal },
]
