import { type Codec, type Message, topic as makeTopic, unchecked } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Trial } from '../trial.ts'
import { copies } from './cap-memory.ts'
import { fidHeaders } from './fid-headers.ts'
import { fidValues } from './fid-values.ts'
import type { Counted } from './schema.ts'
import { lettersWhen, readMeant, sameBytes, storedIds, utf8 } from './stored.ts'
import { allWays, keyedWays, travel } from './travel.ts'

const bodies = (): readonly Uint8Array[] => [
  new Uint8Array(0),
  new Uint8Array([0]),
  Uint8Array.from({ length: 256 }, (_, n) => n),
  new Uint8Array([0xff, 0xfe, 0xc3, 0x28, 0x80, 0xed, 0xa0, 0x80]),
  new Uint8Array(1_000_000).map((_, n) => (n * 31) & 255),
  utf8('{"looks":"like JSON"}'),
  utf8('null'),
  utf8('{"specversion":"1.0","id":"x","data":1}'),
  utf8('  {"spaces": 1.0}  '),
]

async function bytes(t: Trial): Promise<void> {
  const topic = makeTopic(t.name('bytes'), { codec: 'bytes', groups: ['workers'], schema: unchecked<Uint8Array>() })
  const broker = await t.connect()
  const sent = bodies()
  await travel(t, broker, {
    topic,
    items: sent.map((value) => ({ value })),
    ways: allWays,
    look: ({ value, id }, _, n) =>
      t.ok(sameBytes(value, sent[n]), `the body of ${id} is byte-equal: ${sent[n]?.length} bytes sent, ${value?.length} received`, [id]),
    letters: ({ bytes: body }, n) => t.ok(sameBytes(body, sent[n]), `the dead letter of body ${n} is byte-equal`),
  })
  const texts = ['', ' ', '{"looks":"like JSON"}', 'null', '\u0000', '☺ ä', '\ufeffmark']
  const words = makeTopic(t.name('texts'), { codec: 'text', groups: ['workers'], schema: unchecked<string>() })
  await travel(t, broker, {
    topic: words,
    items: texts.map((value) => ({ value })),
    ways: allWays,
    look: ({ value }, _, n) => t.equal(value, texts[n], `text ${n}`),
  })
}

interface Keyed {
  readonly key: string
}

async function keys(t: Trial): Promise<void> {
  const broker = await t.connect()
  const sent = ['', 'ключ ☺', 'k'.repeat(1024), ' spaces ', 'null', 'a/b#+*', '0']
  const topic = makeTopic(t.name('keyed'), { schema: unchecked<Keyed>(), key: ({ key }) => key, groups: ['workers'], partitions: 4 })
  await travel(t, broker, {
    topic,
    items: sent.map((key) => ({ value: { key } })),
    ways: keyedWays,
    look: ({ key, id }, _, n) => t.equal(key, sent[n], `the key of ${id}`),
    letters: ({ key }, n) => t.equal(key, sent[n], `the key of dead letter ${n}`),
  })
  const producer = broker.producer(topic)
  for (const [n, key] of sent.entries()) await producer.send({ key: 'computed' }, { key, id: `given-${n}` })
  const stored = await readMeant(t, t.place(topic))
  for (const [n, key] of sent.entries()) {
    const [found] = stored.filter(({ id }) => id === `given-${n}`)
    t.equal(
      [found?.key, found?.partition],
      [key, partitionOfKey(key, 4)],
      `key and partition of ${JSON.stringify(key.slice(0, 20))} at the server`,
    )
  }
  const unset = makeTopic(t.name('unset'), { schema: unchecked<number>(), groups: ['workers'] })
  await travel(t, broker, {
    topic: unset,
    items: [{ value: 1 }, { value: 2 }],
    ways: allWays,
    look: ({ key, id }) => t.equal(key, undefined, `the key of ${id}, which has none`),
    letters: ({ key }) => t.equal(key, undefined, 'the key of a dead letter without one'),
  })
}

async function times(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('times'), { schema: unchecked<number>(), groups: ['workers'] })
  await t.pass(123.4)
  const sent = new Map<string, number>()
  const before = t.wall()
  await travel(t, broker, {
    topic,
    items: Array.from({ length: 5 }, (_, value) => ({ value })),
    ways: allWays,
    look({ time, id }) {
      const sentAt = time?.getTime() ?? Number.NaN
      if (!sent.has(id)) sent.set(id, sentAt)
      t.equal(sentAt, sent.get(id), `the time of ${id}, on every attempt and copy`)
      // All are sent at one moment of the clock where it stands still in between.
      t.ok(
        Number.isSafeInteger(sentAt) && sentAt >= Math.floor(before) && sentAt <= t.wall(),
        `the time of ${id} is when it was sent, to the millisecond: ${sentAt}`,
      )
      if (t.virtual) t.equal(sentAt, Math.floor(before), `the time of ${id}, on every attempt and copy`)
    },
    letters: ({ id, time }) => t.equal(time?.getTime(), sent.get(id), 'the time of a dead letter'),
  })
  // The consumer's clock says nothing about when a message was sent.
  if (!t.virtual) return
  const odd = makeTopic(t.name('odd-clock'), { schema: unchecked<number>(), groups: ['workers'] })
  const sentAt = Math.floor(t.wall())
  await broker.producer(odd).send(1)
  t.stepWall(3_600_000)
  const seen: (number | undefined)[] = []
  await broker.consume(odd, t.consumeOptions(), ({ time, attempt }) => {
    seen.push(time?.getTime())
    if (attempt === 1) throw new Error('fails once')
  })
  await t.settled(odd)
  t.equal(seen, [sentAt, sentAt], 'the time of a message at a consumer whose clock is an hour ahead')
}

async function ids(t: Trial): Promise<void> {
  const broker = await t.connect({ name: 'shop' })
  const many = makeTopic(t.name('many'), { schema: unchecked<number>(), groups: ['workers'] })
  const count = t.size(10_000)
  const receipts = await broker.producer(many).sendBatch(Array.from({ length: count }, (_, value) => ({ value })))
  t.equal(new Set(receipts.map(({ id }) => id)).size, count, 'different ids of generated ones')
  t.equal([...(await storedIds(t, many))].sort(), receipts.map(({ id }) => id).sort(), 'ids at the server')

  const topic = makeTopic(t.name('own'), { schema: unchecked<number>(), groups: ['workers'] })
  const sources = new Map<string, Set<string | undefined>>()
  await travel(t, broker, {
    topic,
    items: Array.from({ length: 5 }, (_, value) => ({ value })),
    ways: allWays,
    look({ id, source, value }, way, n) {
      t.equal([id, value], [`${way}.${n}`, n], 'id and value of an attempt')
      sources.set(id, (sources.get(id) ?? new Set()).add(source))
    },
    letters: ({ source }) => t.equal(source, 'shop', 'the source of a dead letter'),
  })
  for (const [id, found] of sources) t.equal([...found], ['shop'], `sources of ${id} over its attempts`)

  // Generated ids are as stable as given ones.
  const attempts = new Map<number, Set<string>>()
  const generated = makeTopic(t.name('generated'), { schema: unchecked<number>(), groups: ['workers'] })
  await broker.consume(generated, t.consumeOptions(), ({ value, id, attempt }) => {
    attempts.set(value, (attempts.get(value) ?? new Set()).add(id))
    if (attempt < 3) throw new Error('fails')
  })
  const own = await Promise.all(Array.from({ length: 20 }, (_, value) => broker.producer(generated).send(value)))
  await t.settled(generated)
  for (const [value, found] of attempts) t.equal([...found], [own[value]?.id], `ids of message ${value} over three attempts`)
  t.equal(attempts.size, 20, 'messages')
}

async function kinds(t: Trial): Promise<void> {
  const broker = await t.connect({ name: 'shop' })
  const codec: Codec = {
    contentType: 'application/x-shop+json',
    encode: (value) => utf8(JSON.stringify(value)),
    decode: (body) => JSON.parse(Buffer.from(body).toString()),
  }
  const topic = makeTopic(t.name('kinds'), {
    schema: unchecked<Counted>(),
    codec,
    type: ({ n }) => `shop.order.${n % 2 === 0 ? 'even' : 'odd'}`,
    groups: ['workers', 'keep'],
  })
  // Names that the envelope has too.
  const headers = {
    id: 'header id',
    type: 'header type',
    time: 'header time',
    source: 'header source',
    subject: 'header subject',
    key: 'header key',
    data: 'header data',
    specversion: '9',
  }
  await travel(t, broker, {
    topic,
    items: [0, 1].map((n) => ({ value: { n }, options: { headers } })),
    ways: allWays,
    look({ id, type, source, key, headers: seen, time }, way, n) {
      t.equal(
        [id, type, source, key],
        [`${way}.${n}`, `shop.order.${n === 0 ? 'even' : 'odd'}`, 'shop', undefined],
        'what the envelope says',
      )
      t.ok(time instanceof Date, "the time is the envelope's")
      for (const [name, value] of Object.entries(headers)) t.equal(seen[name], value, `the application's header "${name}" of ${id}`)
    },
  })
  for (const { attributes } of await readMeant(t, t.place(topic)))
    t.equal(attributes['datacontenttype'], codec.contentType, 'the content type at the server')

  // Nothing said: the topic's codec and the topic's name, and nothing is made up.
  const plain = makeTopic(t.name('plain'), { schema: unchecked<Counted>(), groups: ['workers'] })
  await broker.declare(plain)
  const seen: Message<Counted>[] = []
  await broker.consume(plain, t.consumeOptions(), (message) => {
    seen.push(message)
  })
  await t.auditor.write(plain.name, { body: utf8('{"n":7}') })
  await t.until('a plain message is handled', () => seen.length > 0)
  const [message] = seen as [Message<Counted>]
  t.equal(message.value, { n: 7 }, 'the value of a plain message')
  t.equal(
    [message.type, message.source, message.time, message.key],
    [plain.name, undefined, undefined, undefined],
    'type, source, time and key of a plain message',
  )
  t.equal(Object.keys(message.headers), [], 'headers of a plain message')
}

async function spoiled(t: Trial): Promise<void> {
  const broker = await t.connect()
  interface Deep {
    list: number[]
    inner: { text: string }
  }
  const original: Deep = { list: [1, 2, 3], inner: { text: 'original' } }
  const topic = makeTopic(t.name('values'), { schema: unchecked<Deep>(), groups: ['workers', 'other'] })
  const seen: string[] = []
  const spoil = (message: Message<Deep>): void => {
    seen.push(JSON.stringify([message.value, message.headers['colour'], message.id]))
    message.value.list.length = 0
    message.value.inner.text = 'spoiled'
    for (const change of [
      () => Object.assign(message.headers, { colour: 'red' }),
      () => Object.assign(message, { value: null }),
      () => Object.assign(message, { id: 'other' }),
    ]) {
      try {
        change()
      } catch {
        // frozen is as good as copied
      }
    }
  }
  for (const group of ['workers', 'other']) {
    await broker.consume(topic, t.consumeOptions({ group }), (message) => {
      spoil(message)
      throw new Error('fails')
    })
  }
  await broker.producer(topic).send(original, { id: 'one', headers: { colour: 'blue' } })
  await t.settled(topic, 'workers')
  await t.settled(topic, 'other')
  t.equal(
    seen,
    Array.from({ length: 6 }, () => JSON.stringify([original, 'blue', 'one'])),
    'what six attempts of two groups saw',
  )
  const [letter] = await lettersWhen(t, broker, topic, 1)
  t.equal([letter?.value, letter?.headers['colour']], [original, 'blue'], 'the dead letter')

  // A codec that gives the bytes themselves: whoever changes them changes nothing that comes later.
  const raw: Codec = { contentType: 'application/octet-stream', encode: (value) => value as Uint8Array, decode: (body) => body }
  for (const codec of [raw, 'bytes'] as const) await bodiesAreKept(t, codec)
  await copies(t)
}

async function bodiesAreKept(t: Trial, codec: Codec | 'bytes'): Promise<void> {
  const topic = makeTopic(t.name(codec === 'bytes' ? 'bytes' : 'bodies'), { schema: unchecked<Uint8Array>(), codec, groups: ['workers'] })
  const found: string[] = []
  const spoil = (value: Uint8Array): void => {
    found.push(Buffer.from(value).toString())
    value.fill(0)
  }
  const first = await t.connect()
  await first.consume(topic, t.consumeOptions({ retry: { attempts: 9, firstDelayMs: 100, factor: 1 } }), ({ value }) => {
    spoil(value)
    throw new Error('fails')
  })
  const sent = Buffer.from('original')
  const sending = first.producer(topic).send(sent)
  // The sender's own bytes are its own again once `send` was called, where the codec is the library's.
  if (codec === 'bytes') sent.fill(0)
  await sending
  await t.until('two attempts', () => found.length >= 2)
  await first.close({ drainMs: 0 })
  const second = await t.connect()
  await second.consume(topic, t.consumeOptions(), ({ value }) => spoil(value))
  await t.settled(topic, 'workers', t.takeoverMs)
  t.equal(
    found,
    found.map(() => 'original'),
    'bodies at attempts and hand-overs after the handler had filled them with zeros',
  )
}

const own: readonly Clause[] = [
  { id: 'FID-1', title: 'Bodies are bytes', needs: 'memory', run: bytes },
  { id: 'FID-5', title: 'Keys survive', needs: 'memory', run: keys },
  { id: 'FID-6', title: 'Times survive', needs: 'memory', run: times },
  { id: 'FID-7', title: 'The id is stable', needs: 'memory', run: ids },
  { id: 'FID-8', title: 'Content type and type are kept apart', needs: 'memory', run: kinds },
  { id: 'FID-10', title: 'A handler cannot spoil a retry', needs: 'memory', run: spoiled },
]
const number = ({ id }: Clause): number => Number(id.slice(4))
/** The FID clauses, in the order of the page. */
export const fid: readonly Clause[] = [...own, ...fidHeaders, ...fidValues].sort((a, b) => number(a) - number(b))
