import { type Codec, type DeadLetter, type Message, topic as makeTopic } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { type RawMessage, unsupportedReason } from '../harness.ts'
import type { Trial } from '../trial.ts'
import { emptyDeliveries } from './bad-empty.ts'
import { netBytes } from './net-bytes.ts'
import { counted, schemaOf } from './schema.ts'
import { foreign, lettersWhen, sameBytes, utf8 } from './stored.ts'

const from = { source: 'elsewhere', type: 'foreign' } as const
const event = (t: Trial, id: string, body: Uint8Array | string | null, more: Partial<RawMessage> = {}): RawMessage =>
  foreign(t, { id, body: typeof body === 'string' ? utf8(body) : body, attributes: from, partition: 0, ...more })
const good = (t: Trial, n: number): RawMessage => event(t, `good-${n}`, JSON.stringify({ n }))

interface Watched {
  readonly starts: { readonly id: string; readonly at: number; readonly attempt: number; readonly value: unknown }[]
  readonly handler: (message: Message<unknown>) => void
}
function watch(t: Trial): Watched {
  const starts: { id: string; at: number; attempt: number; value: unknown }[] = []
  return { starts, handler: ({ id, attempt, value }) => void starts.push({ id, at: t.now(), attempt, value }) }
}
const ids = (starts: readonly { readonly id: string }[]): readonly string[] => starts.map(({ id }) => id)

async function neighbours(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('neighbours'), { schema: counted, groups: ['workers'] })
  await broker.declare(topic)
  const bad: readonly RawMessage[] = [
    { body: utf8('not-json{'), partition: 0 },
    { body: new Uint8Array([0xc3, 0x28, 0xff]), partition: 0 },
    {
      body: utf8('raw bytes'),
      undecodable: 'its headers cannot be read',
      rawHeaders: { 'x-odd': new Uint8Array([0xff, 0xfe]) },
      partition: 0,
    },
  ]
  // All of it lies there before the first read, so that one fetch holds good and bad.
  for (const [n, each] of bad.entries()) {
    await t.auditor.write(topic.name, good(t, n))
    await t.auditor.write(topic.name, each)
  }
  await t.auditor.write(topic.name, good(t, bad.length))
  const seen = watch(t)
  // In real time becoming a consumer takes a part of it.
  const waitMs = t.virtual ? 100 : 3000
  const since = t.now()
  await broker.consume(topic, t.consumeOptions({ retry: { attempts: 3, firstDelayMs: waitMs, factor: 1 } }), seen.handler)
  await t.until('the good ones are handled', () => seen.starts.length >= bad.length + 1)
  t.equal(
    [...ids(seen.starts)].sort(),
    Array.from({ length: bad.length + 1 }, (_, n) => `good-${n}`),
    'messages handled',
  )
  t.equal(new Set(seen.starts.map(({ attempt }) => attempt)), new Set([1]), 'attempts of the good ones')
  // At once: no retry of a neighbour comes before them.
  t.atMost(Math.max(...seen.starts.map(({ at }) => at)) - since, 0.9 * waitMs, 'milliseconds until all good ones were handled')
  const letters = await lettersWhen(t, broker, topic, bad.length)
  await t.settled(topic)
  t.equal(
    letters.map(({ reason }) => reason),
    bad.map(() => 'undecodable'),
    'reasons of the dead letters',
  )
  t.equal(
    letters.map(({ attempts }) => attempts),
    bad.map(() => 0),
    'attempts of the dead letters',
  )
  t.equal(t.events('failed').length, 0, 'failed attempts')
  await t.auditor.write(topic.name, good(t, 9))
  await t.until('the consumer is alive', () => ids(seen.starts).includes('good-9'))
}

async function manyBad(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('window'), { schema: counted, groups: ['workers'] })
  await broker.declare(topic)
  for (let n = 0; n < 100; n++) await t.auditor.write(topic.name, { body: utf8(`not-json{ ${n}`), partition: 0 })
  for (let n = 0; n < 10; n++) await t.auditor.write(topic.name, good(t, n))
  const seen = watch(t)
  await broker.consume(topic, t.consumeOptions({ maxUnsettled: 32 }), seen.handler)
  await t.until('the good ones behind them are handled', () => seen.starts.length >= 10, { seen: () => seen.starts.length })
  const letters = await lettersWhen(t, broker, topic, 100)
  await t.settled(topic)
  t.equal(
    [...ids(seen.starts)].sort(),
    Array.from({ length: 10 }, (_, n) => `good-${n}`),
    'messages handled',
  )
  t.equal(letters.length, 100, 'dead letters')
  t.equal(new Set(letters.map(({ bytes }) => Buffer.from(bytes).toString())).size, 100, 'different bodies among them')
}

/** Shapes that no sender of this library makes. Each is handled or set aside with a reason. */
function shapes(
  t: Trial,
): readonly { readonly what: string; readonly raw: RawMessage; readonly ends: 'handled' | 'undecodable' | 'invalid' | 'either' }[] {
  const body = utf8('{"n":1}')
  const odd = new Uint8Array([0xff, 0xfe, 0x41])
  return [
    { what: 'no id', raw: foreign(t, { body, attributes: from }), ends: 'handled' },
    { what: 'no attribute at all', raw: { body }, ends: 'handled' },
    { what: 'an empty id', raw: foreign(t, { id: '', body, attributes: from }), ends: 'handled' },
    { what: 'a very long id', raw: foreign(t, { id: 'i'.repeat(5000), body, attributes: from }), ends: 'either' },
    { what: 'a null body', raw: foreign(t, { id: 'null', body: null, attributes: from }), ends: 'invalid' },
    { what: 'an empty body', raw: foreign(t, { id: 'empty', body: new Uint8Array(0), attributes: from }), ends: 'undecodable' },
    { what: 'an id that comes twice, the first', raw: foreign(t, { id: 'twice', body, attributes: from }), ends: 'handled' },
    {
      what: 'an id that comes twice, the second',
      raw: foreign(t, { id: 'twice', body, attributes: { ...from, source: 'another' } }),
      ends: 'handled',
    },
    {
      what: 'header names that no sender may use',
      raw: foreign(t, {
        id: 'names',
        body,
        attributes: from,
        headers: { 'a b': '1', '': '2', ['__proto__']: '3', ä: '4', constructor: '5' },
      }),
      ends: 'handled',
    },
    {
      what: 'header values of any text',
      raw: foreign(t, { id: 'values', body, attributes: from, headers: { table: '{"a":[1,2]}', number: '42', lines: 'a\r\nb\0c' } }),
      ends: 'handled',
    },
    {
      what: 'a content type of another kind',
      raw: foreign(t, { id: 'kind', body, attributes: { ...from, datacontenttype: 'text/html' } }),
      ends: 'handled',
    },
    {
      what: 'attributes of no meaning',
      raw: foreign(t, { id: 'attributes', body, attributes: { ...from, constructor: 'x', toString: 'y', specversion: '1.0' } }),
      ends: 'handled',
    },
    {
      what: 'headers that are no text',
      raw: {
        body: odd,
        undecodable: 'a table among the headers',
        rawHeaders: { table: odd, [String.fromCharCode(0xfffd)]: odd, text: utf8('as it was') },
      },
      ends: 'undecodable',
    },
    {
      what: 'no body and no headers to read',
      raw: { body: null, undecodable: 'nothing can be read', rawHeaders: null },
      ends: 'undecodable',
    },
    {
      what: 'transport names of ours with values of theirs',
      raw: {
        ...foreign(t, { id: 'ours', body, attributes: from }),
        ...(t.capabilities.headers === 'native'
          ? { transport: { 'ph-attempt': 'NaN', 'ph-due': '-1', 'ph-body': 'null', traceparent: 'broken' } }
          : {}),
      },
      ends: 'either',
    },
  ]
}

/** false: the server takes no such thing from anybody. */
async function written(t: Trial, topic: string, raw: RawMessage): Promise<boolean> {
  try {
    await t.auditor.write(topic, raw)
    return true
  } catch (error) {
    if (unsupportedReason(error) === undefined) throw error
    return false
  }
}

async function foreignShapes(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('shapes'), { schema: counted, groups: ['workers'] })
  await broker.declare(topic)
  const seen = watch(t)
  const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler)
  let died: unknown
  consumer.closed.catch((error: unknown) => {
    died = error
  })
  let letters = 0
  let handled = 0
  for (const { what, raw, ends } of shapes(t)) {
    if (!(await written(t, topic.name, raw))) {
      t.note(`nobody can write ${what} there`)
      continue
    }
    await t.settled(topic, 'workers', 10_000)
    const list = await lettersWhen(t, broker, topic, letters)
    const aside = list.length - letters
    const started = seen.starts.length - handled
    t.equal([aside + started, died], [1, undefined], `starts and dead letters of ${what}, and why the consumer died`)
    if (ends === 'handled') t.equal(started, 1, `starts of ${what}`)
    else if (ends !== 'either') t.equal([started, list.at(-1)?.reason], [0, ends], `starts and dead letter of ${what}`)
    letters = list.length
    handled = seen.starts.length
  }
  t.equal(t.events('failed').length, 0, 'failed attempts')
  await t.auditor.write(topic.name, good(t, 7))
  await t.until('the consumer is alive', () => ids(seen.starts).includes('good-7'))
  t.equal(consumer.state, 'running', 'the consumer afterwards')
}

async function originalBytes(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('originals'), { schema: counted, groups: ['workers'] })
  await broker.declare(topic)
  await broker.consume(topic, t.consumeOptions(), () => {})
  const bodies = [
    utf8('not-json{'),
    new Uint8Array([0xc3, 0x28, 0xff]),
    new Uint8Array(0),
    utf8('{"n":"seven"}'),
    utf8('  {"n" : 1.50e0, "n":"x"}  '),
    Uint8Array.from({ length: 256 }, (_, n) => n),
    utf8('\ufeff[1]'),
  ]
  for (const [n, body] of bodies.entries()) {
    await t.auditor.write(topic.name, event(t, `b${n}`, body, { headers: { mine: `header ${n}`, 'a b': 'odd name' } }))
  }
  const binary = new Uint8Array([0xff, 0x00, 0xfe])
  const unread = { body: binary, undecodable: 'headers that are no text', partition: 0 }
  const text = utf8('text ☺')
  const anyBytes = await written(t, topic.name, { ...unread, rawHeaders: { binary, text } })
  if (!anyBytes) await t.auditor.write(topic.name, { ...unread, rawHeaders: { text } })
  const letters = await lettersWhen(t, broker, topic, bodies.length + 1)
  await t.settled(topic)
  t.equal(letters.length, bodies.length + 1, 'dead letters')
  for (const [n, body] of bodies.entries()) {
    const letter = letters.find(({ id }) => id === `b${n}`)
    t.ok(letter !== undefined && sameBytes(letter.bytes, body), `the dead letter of body ${n} holds its bytes`)
    t.equal(
      [letter?.headers['mine'], letter?.headers['a b'], letter?.source, letter?.type],
      [`header ${n}`, 'odd name', from.source, from.type],
      `headers, source and type of dead letter ${n}`,
    )
  }
  const raw = letters.find(({ id }) => !/^b\d$/.test(id)) as DeadLetter
  t.ok(sameBytes(raw.bytes, binary), 'the bytes of what could not even be read')
  t.equal(raw.headers['text'], 'text ☺', 'a header that is text')
  if (anyBytes) t.ok(sameBytes(Buffer.from(raw.headers['binary'] ?? '', 'base64url'), binary), 'the bytes of a header that is no text')
}

async function wrongShape(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('wrong-shape'), { schema: counted, groups: ['workers'] })
  await broker.declare(topic)
  const seen = watch(t)
  await broker.consume(topic, t.consumeOptions(), seen.handler)
  const wrong = ['{"n":"seven"}', '{}', '[]', '"text"', '7', 'null']
  for (const [n, body] of wrong.entries()) await t.auditor.write(topic.name, event(t, `wrong-${n}`, body))
  await t.auditor.write(topic.name, good(t, 1))
  const letters = await lettersWhen(t, broker, topic, wrong.length)
  await t.settled(topic)
  t.equal(ids(seen.starts), ['good-1'], 'messages handled')
  for (const letter of letters) t.equal([letter.reason, letter.attempts], ['invalid', 0], `reason and attempts of ${letter.id}`)
  for (const id of ['wrong-0', 'wrong-1'])
    t.ok(letters.find((letter) => letter.id === id)?.error?.includes('n: a number is needed') === true, `the error of ${id} names the path`)
  t.equal(t.events('failed').length + t.events('waiting').length, 0, 'attempts and waits of messages that violate the schema')
}

async function giants(t: Trial): Promise<void> {
  const broker = await t.connect()
  const limit = 10_000
  let decodes = 0
  const codec: Codec = {
    contentType: 'application/json',
    encode: (value) => utf8(JSON.stringify(value)),
    decode(body) {
      decodes++
      return JSON.parse(Buffer.from(body).toString())
    },
  }
  const topic = makeTopic(t.name('giants'), { schema: counted, codec, maxBytes: limit, groups: ['workers'] })
  await broker.declare(topic)
  const seen = watch(t)
  const sized = (bytes: number): Uint8Array => utf8(`{"n":1,"pad":"${'x'.repeat(bytes - 16)}"}`)
  // The last one is more than the server takes from us: no copy of it can be made, so its dead letter says where it lies.
  const sizes = [limit + 1, 100 * limit, ...(t.capabilities.positions === 'native' ? [t.capabilities.limits.messageBytes * 2] : [])]
  const before = process.memoryUsage()
  await broker.consume(topic, t.consumeOptions(), seen.handler)
  for (const [n, size] of sizes.entries()) {
    await t.auditor.write(topic.name, event(t, `giant-${n}`, sized(size)))
    await t.auditor.write(topic.name, good(t, n))
  }
  await t.until('the others flow', () => seen.starts.length >= sizes.length, { seen: () => seen.starts.length })
  await t.settled(topic, 'workers', 20_000)
  t.equal(decodes, sizes.length, 'bodies that were decoded')
  const after = process.memoryUsage()
  t.atMost(
    after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers,
    sizes.reduce((a, b) => a + b, 0) * 8 + 32 * 2 ** 20,
    'bytes held above the baseline',
  )
  t.equal(
    [...ids(seen.starts)].sort(),
    sizes.map((_, n) => `good-${n}`),
    'messages handled',
  )
  const letters = await lettersWhen(t, broker, topic, sizes.length)
  t.equal(
    letters.map(({ reason }) => reason),
    sizes.map(() => 'too-large'),
    'reasons of the dead letters',
  )
  for (const [n, size] of sizes.entries()) {
    const letter = letters.find(({ id }) => id === `giant-${n}`)
    // What is far too large is not even taken out of its envelope: then the bytes are those of the wire.
    const wire = event(t, `giant-${n}`, sized(size)).body
    if (n < 2)
      t.ok(
        letters.some(({ bytes }) => sameBytes(bytes, sized(size)) || sameBytes(bytes, wire)),
        `a dead letter holds the ${size} bytes`,
      )
    else
      t.ok(
        letter?.position !== undefined && /too large for a copy/.test(letter.error ?? ''),
        `the dead letter of ${size} bytes says where they lie: ${letter?.error}`,
      )
  }
  const { replayed, left } = await broker.deadLetters(topic, 'workers').replay({ all: true })
  t.equal([replayed, left], [2, sizes.length - 2], 'replayed, and left because there is nothing to hand out')
}

async function unknownType(t: Trial): Promise<void> {
  interface Shop {
    readonly kind: 'placed' | 'paid'
  }
  const known = schemaOf<Shop>((value) => {
    const kind = (value as { kind?: unknown } | null)?.kind
    return kind === 'placed' || kind === 'paid' ? undefined : { path: ['kind'], message: `${String(kind)} is no known kind` }
  })
  const broker = await t.connect()
  const topic = makeTopic(t.name('kinds'), { schema: known, type: ({ kind }) => `shop.${kind}`, groups: ['workers'] })
  await broker.declare(topic)
  const seen = watch(t)
  const consumer = await broker.consume(topic, t.consumeOptions(), seen.handler)
  await broker.producer(topic).send({ kind: 'placed' }, { id: 'placed' })
  await t.auditor.write(
    topic.name,
    event(t, 'refunded', '{"kind":"refunded"}', { attributes: { source: 'elsewhere', type: 'shop.refunded' } }),
  )
  await broker.producer(topic).send({ kind: 'paid' }, { id: 'paid' })
  const [letter] = await lettersWhen(t, broker, topic, 1)
  await t.settled(topic)
  t.equal([...ids(seen.starts)].sort(), ['paid', 'placed'], 'messages handled')
  t.equal([letter?.id, letter?.reason, letter?.type], ['refunded', 'invalid', 'shop.refunded'], 'the dead letter')
  t.ok(letter?.error?.includes('refunded is no known kind') === true, 'the error says what is not known')
  t.equal(
    [t.events('invalid').length, t.events('dead-lettered').length, consumer.stats().deadLettered],
    [1, 1, 1],
    'counts of what was set aside',
  )
}

/** The BAD clauses, in the order of the page. */
export const bad: readonly Clause[] = [
  { id: 'BAD-1', title: 'A bad message harms no neighbour', needs: 'memory', run: neighbours },
  { id: 'BAD-2', title: 'Many bad ones do not fill the window', needs: 'memory', run: manyBad },
  { id: 'BAD-3', title: 'Foreign shapes are data', needs: 'memory', run: foreignShapes },
  { id: 'BAD-4', title: 'The dead letter holds the original bytes', needs: 'memory', run: originalBytes },
  { id: 'BAD-5', title: 'Schema violations are not retried', needs: 'memory', run: wrongShape },
  { id: 'BAD-6', title: 'A foreign giant is bounded', needs: 'memory', run: giants },
  { id: 'BAD-7', title: "Nobody's message is not acked away", needs: 'memory', run: unknownType },
  netBytes.brokenFrames,
  { id: 'BAD-9', title: 'Empty deliveries are not messages', needs: 'memory', run: emptyDeliveries },
]
