// SEC-5, 6 and 8: what messages bring along.

import type { Message, StandardSchemaV1 } from '@posthorn/core'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { foreign, lettersWhen, utf8 } from './stored.ts'

/** SEC-5 */
export async function headersCannotInject(t: Trial): Promise<void> {
  const topic = t.topic('jobs')
  const broker = await t.connect()
  const seen = t.recorder()
  await broker.consume(topic, t.consumeOptions(), seen.handler())
  const producer = broker.producer(topic, { timeoutMs: 3000 })
  const [first] = t.orders(1) as [Order]
  await t.send(broker, topic, [first])
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`x-${index}`, 'v']))
  const wrong: readonly Readonly<Record<string, unknown>>[] = [
    { 'x-a': 'one\r\nx-b: two' },
    { 'x-a': 'one\rtwo' },
    { 'x-a': 'one\ntwo' },
    { 'x-a': 'one\u0000two' },
    { 'x-a': 'half \ud800 a character' },
    { 'x\r\nb': 'v' },
    { 'x b': 'v' },
    { 'x:b': 'v' },
    { '': 'v' },
    { 'x\u0000': 'v' },
    { ünicode: 'v' },
    { ce_id: 'v' },
    { 'ce-id': 'v' },
    { CE_TYPE: 'v' },
    { 'ph-attempt': '1' },
    { 'PH-Due': '1' },
    { 'cloudEvents:id': 'v' },
    { cloudEvents_id: 'v' },
    { 'Content-Type': 'v' },
    { 'x-long': 'v'.repeat(8193) },
    { ['n'.repeat(8193)]: 'v' },
    many,
    { 'x-n': 1 },
    { 'x-u': undefined },
    { 'x-o': {} },
  ]
  const declared = t.calls(broker).published
  for (const headers of wrong) {
    const sent = producer.send(first, { headers: headers as Record<string, string> })
    const error = await t.rejects(sent, 'INVALID_ARGUMENT', { what: `a send with the header ${JSON.stringify(headers).slice(0, 60)}` })
    t.equal(error.outcome, 'failed', 'the outcome of a send with such a header')
  }
  const batch = producer.sendBatch([{ value: first }, { value: first, headers: { 'x-a': 'one\ntwo' } }])
  t.equal(
    (await t.rejects(batch, 'INVALID_ARGUMENT', { what: 'a batch with such a header' })).outcomes[1]?.status,
    'failed',
    'the outcome of its entry',
  )
  t.atMost(t.calls(broker).published - declared, 1, 'messages that left with such headers')
  // What a header may hold arrives as it is.
  const [last] = t.orders(1) as [Order]
  const good = {
    'x-text': 'a "quoted" %41 text; with, signs',
    'x-unicode': 'žluťoučký 🐎',
    'x-empty': '',
    'X-Case': 'Kept',
    __proto__x: 'v',
  }
  let shown: Readonly<Record<string, string>> = {}
  const other = t.topic('other')
  await broker.consume(other, t.consumeOptions(), (message) => {
    shown = message.headers
  })
  await t.send(broker, other, [last], { headers: good })
  await t.until('it is handled', () => Object.keys(shown).length > 0)
  for (const [name, value] of Object.entries(good)) t.equal(shown[name], value, `the header ${name} at the handler`)
}

const anything: StandardSchemaV1<unknown, unknown> = { '~standard': { version: 1, vendor: 'suite', validate: (value) => ({ value }) } }

/** SEC-6 */
export async function contentCannotPoison(t: Trial): Promise<void> {
  const topic = t.topic('foreign', { keyed: false, partitions: 1, with: { schema: anything as never } })
  const broker = await t.connect()
  await broker.declare(topic)
  const before = fingerprint()
  const bodies: Readonly<Record<string, string>> = {
    proto: '{"__proto__":{"polluted":1},"id":"x"}',
    constructed: '{"constructor":{"prototype":{"polluted":1}}}',
    nested: '{"a":{"__proto__":{"polluted":1}}}',
    array: '[{"__proto__":{"polluted":1}}]',
    deep: '['.repeat(1_000_000),
    objects: '{"a":'.repeat(150_000),
    closed: `${'['.repeat(400_000)}${']'.repeat(400_000)}`,
  }
  const mine = new Set(['deep', 'objects'])
  for (const [id, body] of Object.entries(bodies)) {
    const headers = JSON.parse('{"__proto__":"polluted","constructor":"polluted","toString":"polluted","x-shop":"north"}') as Record<
      string,
      string
    >
    await t.auditor.write(
      topic.name,
      foreign(t, {
        id,
        body: utf8(body),
        headers,
        attributes: { specversion: '1.0', source: 's', type: 't', datacontenttype: 'application/json' },
        partition: 0,
      }),
    )
  }
  // Names that would hide fields of the message in a document without headers of its own.
  const got = new Map<string, Message<Order>>()
  await broker.consume(topic, t.consumeOptions(), (message) => void got.set(message.id, message))
  await t.settled(topic, 'workers', 30_000)
  const letters = new Map((await lettersWhen(t, broker, topic, mine.size)).map((letter) => [letter.id, letter]))
  for (const id of mine) t.equal(letters.get(id)?.reason, 'undecodable', `what became of the body "${id}"`)
  for (const id of ['proto', 'constructed', 'nested', 'array']) {
    const message = got.get(id)
    if (message === undefined) t.fail(`the message "${id}" was not handled`, [id])
    t.equal(Object.getPrototypeOf(message.headers), null, `the prototype of the headers of "${id}"`)
    t.equal(message.headers['x-shop'], 'north', `a header of "${id}"`)
    t.equal(
      (message.value as { polluted?: unknown }).polluted,
      undefined,
      `a property of the value of "${id}" that only a prototype could give`,
    )
  }
  const closed = got.has('closed') || letters.has('closed')
  t.ok(closed, 'the deep body that is closed was handled or set aside')
  t.equal(fingerprint(), before, 'what plain objects inherit')
  t.equal(({} as { polluted?: unknown }).polluted, undefined, 'a property that no plain object has')
}

const fingerprint = (): string =>
  [Object.prototype, Array.prototype, Function.prototype].map((each) => Reflect.ownKeys(each).map(String).sort().join(' ')).join('\n')

/** SEC-8 */
export async function errorTextsAreClean(t: Trial): Promise<void> {
  const topic = t.topic('jobs', { partitions: 1 })
  const broker = await t.connect()
  const orders = t.orders(3, { keys: 3 })
  const huge = 'x'.repeat(10_000_000)
  await broker.consume(topic, t.consumeOptions({ retry: { attempts: 2, firstDelayMs: 10 } }), (message) => {
    if (message.id === orders[0]?.id) throw new Error(`amqp://user:${t.canary}@host/ failed: ${huge}`)
    if (message.id === orders[1]?.id) throw new Error(`${'ž'.repeat(1020)}${'🐎'.repeat(500)} password=${t.canary}`)
    throw Object.assign(new TypeError('short'), { stack: `at secret (file.ts:1:1) ${t.canary}`, cause: new Error(`cause ${t.canary}`) })
  })
  await t.send(broker, topic, orders)
  const letters = await lettersWhen(t, broker, topic, orders.length)
  await t.settled(topic)
  for (const letter of letters) {
    const text = letter.error ?? ''
    t.atLeast(text.length, 1, `letters of the error text of ${letter.id}`)
    t.atMost(Buffer.byteLength(text), 2048, `bytes of the error text of ${letter.id}`)
    t.ok(!text.includes(t.canary), `the error text of ${letter.id} holds no secret`)
    t.ok(!/\bat .*:\d+:\d+/.test(text), `the error text of ${letter.id} holds no stack: ${text.slice(0, 200)}`)
    t.ok(!text.includes('\ufffd'), `the error text of ${letter.id} is cut at a character`)
  }
  t.equal(letters.find(({ id }) => id === orders[2]?.id)?.error, 'short', 'an error text that is short')
  for (const entry of await t.auditor.read(t.place(topic, 'dead'))) {
    t.ok(
      !JSON.stringify([entry, Buffer.from(entry.body ?? []).toString()]).includes(t.canary),
      `the entry of ${entry.id} holds no secret at the server`,
    )
    t.ok(
      !JSON.stringify([entry.attributes, entry.headers, entry.transport]).includes('file.ts'),
      `the entry of ${entry.id} holds no stack at the server`,
    )
  }
}
