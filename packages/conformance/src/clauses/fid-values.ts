import { type Codec, topic as makeTopic, unchecked } from '@posthorn/core'
import { testBroker } from '@posthorn/core/testing'
import type { Clause } from '../clause.ts'
import type { Trial } from '../trial.ts'
import { type Counted, counted, schemaOf } from './schema.ts'
import { foreign, lettersWhen, utf8 } from './stored.ts'
import { allWays, keyedWays, travel } from './travel.ts'

async function invalid(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topic = makeTopic(t.name('strict'), { schema: counted, groups: ['workers'] })
  const producer = broker.producer(topic)
  for (const value of [{ n: 'seven' }, {}, 'text', null, undefined, { n: undefined }]) {
    const error = await t.rejects(producer.send(value as never), 'INVALID_MESSAGE', {
      naming: [topic.name],
      what: `a send of ${JSON.stringify(value)}`,
    })
    t.equal(error.outcome, 'failed', 'the outcome of an invalid value')
    if (typeof value === 'object' && value !== null)
      t.equal(
        error.issues.map(({ path }) => path),
        [['n']],
        'the path of what is wrong',
      )
  }
  if (await t.auditor.exists(topic.name)) t.equal((await t.auditor.read(t.place(topic))).length, 0, 'invalid values at the server')

  const source = t.topic('source')
  const seen = t.recorder()
  await broker.consume(
    source,
    t.consumeOptions(),
    seen.handler((message) => {
      message.forward(topic, { n: 'seven' } as never)
    }),
  )
  await t.send(broker, source, t.orders(1))
  const [letter] = await lettersWhen(t, broker, source, 1)
  t.equal(seen.starts.length, 3, 'attempts whose forwarded value is invalid')
  t.equal([letter?.reason, letter?.attempts], ['failed', 3], 'the dead letter of a forward that is invalid')
  if (await t.auditor.exists(topic.name))
    t.equal((await t.auditor.read(t.place(topic))).length, 0, 'invalid forwarded values at the server')
}

async function readBack(t: Trial): Promise<void> {
  interface Dated {
    readonly due: Date
  }
  const dated = schemaOf<Dated>((value) => {
    const due = (value as { due?: unknown } | null)?.due
    return due instanceof Date ? undefined : { path: ['due'], message: 'a date is needed' }
  })
  const topic = makeTopic(t.name('dated'), { schema: dated, groups: ['workers'] })
  const broker = await t.connect()
  const producer = broker.producer(topic)
  const error = await t.rejects(producer.send({ due: new Date(0) }), 'INVALID_MESSAGE', {
    naming: ['due', topic.name],
    what: 'the first send of a topic that cannot read its own messages',
  })
  t.equal(error.outcome, 'failed', 'its outcome')
  t.ok(/schema|codec|string|coerce|transform|accept/i.test(error.message), `the error says what to do: ${error.message}`)
  if (await t.auditor.exists(topic.name))
    t.equal((await t.auditor.read(t.place(topic))).length, 0, 'messages of a topic that cannot read them')

  const count = (): { readonly codec: Codec; readonly decodes: () => number } => {
    let decodes = 0
    const codec: Codec = {
      contentType: 'application/json',
      encode: (value) => utf8(JSON.stringify(value)),
      decode(body) {
        decodes++
        return JSON.parse(Buffer.from(body).toString())
      },
    }
    return { codec, decodes: () => decodes }
  }
  const once = count()
  const good = makeTopic(t.name('good'), { schema: counted, codec: once.codec, groups: ['workers'] })
  for (let n = 0; n < 10; n++) await broker.producer(good).send({ n })
  t.equal(once.decodes(), 1, 'decodes of 10 sends')

  const always = count()
  const tested = makeTopic(t.name('tested'), { schema: counted, codec: always.codec, groups: ['workers'] })
  await t.real(
    (async () => {
      await using test = await testBroker()
      for (let n = 0; n < 10; n++) await test.producer(tested).send({ n })
    })(),
  )
  t.equal(always.decodes(), 10, 'decodes of 10 sends on the test broker')
}

async function nulls(t: Trial): Promise<void> {
  const broker = await t.connect()
  const nullable = schemaOf<Counted | null>((value) =>
    value === null ? undefined : typeof (value as Counted).n === 'number' ? undefined : { path: ['n'], message: 'a number is needed' },
  )
  const keyless = makeTopic(t.name('nullable'), { schema: nullable, groups: ['workers'] })
  await travel(t, broker, {
    topic: keyless,
    items: [{ value: null }, { value: { n: 1 } }, { value: null }],
    ways: allWays,
    look: ({ value, id }, _, n) => t.equal(value, n === 1 ? { n: 1 } : null, `the value of ${id}`),
    letters: ({ value }, n) => t.equal(value, n === 1 ? { n: 1 } : null, `the value of dead letter ${n}`),
  })
  const keyed = makeTopic(t.name('keyed'), {
    schema: nullable,
    key: (value) => (value === null ? 'none' : String(value.n)),
    groups: ['workers'],
    partitions: 4,
  })
  await travel(t, broker, {
    topic: keyed,
    items: [{ value: null, options: { key: 'gone' } }],
    ways: keyedWays,
    look: ({ value, key }) => t.equal([value, key], [null, 'gone'], 'value and key'),
  })
  // Null is not empty: a codec that takes bytes tells them apart.
  const loose = makeTopic(t.name('loose'), { schema: unchecked<Uint8Array | null>(), codec: 'bytes', groups: ['workers'] })
  await travel(t, broker, {
    topic: loose,
    items: [{ value: null }, { value: new Uint8Array(0) }],
    ways: allWays,
    look: ({ value, id }, _, n) =>
      t.ok(
        n === 0 ? value === null : value instanceof Uint8Array && value.length === 0,
        `${id} is ${n === 0 ? 'null' : 'empty'}, not ${String(value)}`,
      ),
  })

  const strict = makeTopic(t.name('strict'), { schema: counted, groups: ['workers'] })
  await t.rejects(broker.producer(strict).send(null as never), 'INVALID_MESSAGE', { what: 'a null that the schema does not take' })
  await broker.declare(strict)
  let starts = 0
  await broker.consume(strict, t.consumeOptions(), () => {
    starts++
  })
  await t.auditor.write(strict.name, foreign(t, { id: 'null', body: null, attributes: { source: 'elsewhere', type: 'x' } }))
  const [letter] = await lettersWhen(t, broker, strict, 1)
  t.equal([letter?.id, letter?.reason, starts], ['null', 'invalid', 0], 'a null from outside that the schema does not take')
}

/** FID-11 to FID-13. */
export const fidValues: readonly Clause[] = [
  { id: 'FID-11', title: 'Invalid values never leave', needs: 'memory', run: invalid },
  { id: 'FID-12', title: 'The first message is read back', needs: 'memory', run: readBack },
  { id: 'FID-13', title: 'A null body is data', needs: 'memory', run: nulls },
]
