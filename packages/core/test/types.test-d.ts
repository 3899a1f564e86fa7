import {
  type Adapters,
  type Broker,
  type ConsumeOptions,
  type Consumer,
  type DeadLetter,
  type Decision,
  deadLetter,
  drop,
  inMemoryOnce,
  type Message,
  type MessageOf,
  type MessagingError,
  type OnceStore,
  type Producer,
  type Puller,
  postpone,
  type Receipt,
  retry,
  type SentBy,
  type Topic,
  topic,
  unchecked,
  type ValueOf,
} from '@posthorn/core'
import { type } from 'arktype'
import * as v from 'valibot'
import { assertType, describe, expectTypeOf, it } from 'vitest'
import * as z from 'zod'

declare module '@posthorn/core' {
  interface Adapters {
    horn: {
      connect: { readonly volume?: number }
      topic: { readonly pitch?: string }
      consumer: { readonly mute?: boolean }
      client: { blow(): void }
    }
  }
}
declare const broker: Broker

const zodTopic = topic('zod', {
  schema: z.object({ n: z.number(), at: z.coerce.date().optional(), tag: z.string().default('x') }),
  key: (value) => value.tag,
})
const valibotTopic = topic('valibot', { schema: v.object({ n: v.pipe(v.string(), v.transform(Number)) }) })
const arktypeTopic = topic('arktype', { schema: type({ n: 'string.numeric.parse' }) })
const uncheckedTopic = topic('unchecked', { schema: unchecked<{ readonly n: number }>() })
const plainTopic = topic('plain')

describe('a topic', () => {
  it('keeps its name as a literal', () => {
    expectTypeOf(zodTopic.name).toEqualTypeOf<'zod'>()
  })

  it('takes what the schema takes and gives what the schema gives', () => {
    expectTypeOf<SentBy<typeof valibotTopic>>().toEqualTypeOf<{ n: string }>()
    expectTypeOf<ValueOf<typeof valibotTopic>>().toEqualTypeOf<{ n: number }>()
    expectTypeOf<SentBy<typeof arktypeTopic>>().toEqualTypeOf<{ n: string }>()
    expectTypeOf<ValueOf<typeof arktypeTopic>>().toEqualTypeOf<{ n: number }>()
    expectTypeOf<ValueOf<typeof zodTopic>>().toEqualTypeOf<{ n: number; at?: Date | undefined; tag: string }>()
    expectTypeOf<SentBy<typeof zodTopic>['tag']>().toEqualTypeOf<string | undefined>()
    expectTypeOf<SentBy<typeof uncheckedTopic>>().toEqualTypeOf<{ readonly n: number }>()
    expectTypeOf<ValueOf<typeof plainTopic>>().toEqualTypeOf<unknown>()
    expectTypeOf<SentBy<typeof plainTopic>>().toEqualTypeOf<unknown>()
  })

  it('shows key and type the validated value', () => {
    topic('k', {
      schema: z.object({ n: z.string().transform(Number) }),
      key: (value) => expectTypeOf(value.n).toEqualTypeOf<number>() && 'k',
      type: (value) => `n.${value.n}`,
    })
    // @ts-expect-error the value has no such field
    topic('k', { schema: z.object({ n: z.number() }), key: (value) => value.userId })
    // @ts-expect-error a key is a text
    topic('k', { schema: z.object({ n: z.number() }), key: (value) => value.n })
  })

  it('reads older shapes that become the same value', () => {
    const now = z.object({ name: z.string() })
    topic('a', { schema: now, accept: [z.object({ title: z.string() }).transform(({ title }) => ({ name: title }))] })
    // @ts-expect-error this older shape becomes something else
    topic('a', { schema: now, accept: [z.object({ title: z.string() })] })
  })

  it('refuses unknown options and options of the wrong type', () => {
    // @ts-expect-error misspelt
    topic('a', { grups: ['email'] })
    // @ts-expect-error not a codec
    topic('a', { codec: 'xml' })
    // @ts-expect-error not a schema
    topic('a', { schema: { parse: () => 1 } })
    // @ts-expect-error an option of the adapter that does not exist
    topic('a', { native: { horn: { pitsch: 'a' } } })
    topic('a', { native: { horn: { pitch: 'a' } }, partitions: undefined })
  })

  it('is any topic as a bare Topic', () => {
    assertType<readonly Topic[]>([zodTopic, valibotTopic, arktypeTopic, uncheckedTopic, plainTopic])
  })
})

describe('a producer', () => {
  it('takes the input of the schema', () => {
    expectTypeOf(broker.producer(valibotTopic)).toEqualTypeOf<Producer<{ n: string }>>()
    expectTypeOf(broker.producer(valibotTopic).send({ n: '1' })).toEqualTypeOf<Promise<Receipt>>()
    // @ts-expect-error a number is what handlers get, not what is sent
    void broker.producer(valibotTopic).send({ n: 1 })
    // @ts-expect-error a field is missing
    void broker.producer(zodTopic).send({})
    void broker.producer(zodTopic).send({ n: 1 })
    // @ts-expect-error every entry is checked
    void broker.producer(uncheckedTopic).sendBatch([{ value: { n: 1 } }, { value: { n: '1' } }])
    // @ts-expect-error an unknown option
    void broker.producer(uncheckedTopic).send({ n: 1 }, { ttl: 5 })
    // @ts-expect-error an unknown option
    broker.producer(uncheckedTopic, { retries: 5 })
  })

  it('can be held by what sends less', () => {
    const wide: Producer<{ readonly n: number } | { readonly n: string }> = broker.producer(
      topic('wide', { schema: unchecked<{ readonly n: number } | { readonly n: string }>() }),
    )
    expectTypeOf(wide).toExtend<Producer<{ readonly n: number }>>()
  })
})

describe('a consumer', () => {
  it('gets the output of the schema', () => {
    expectTypeOf(
      broker.consume(arktypeTopic, { group: 'g' }, (message) => {
        expectTypeOf(message).toEqualTypeOf<Message<{ n: number }, 'arktype'>>()
        expectTypeOf(message.topic).toEqualTypeOf<'arktype'>()
      }),
    ).toEqualTypeOf<Promise<Consumer>>()
  })

  it('narrows the value by the topic it came from', () => {
    void broker.consume([valibotTopic, uncheckedTopic, plainTopic], { group: 'g' }, (message) => {
      expectTypeOf(message.topic).toEqualTypeOf<'valibot' | 'unchecked' | 'plain'>()
      if (message.topic === 'valibot') expectTypeOf(message.value).toEqualTypeOf<{ n: number }>()
      else if (message.topic === 'unchecked') expectTypeOf(message.value).toEqualTypeOf<{ readonly n: number }>()
      else expectTypeOf(message.value).toEqualTypeOf<unknown>()
      // @ts-expect-error no such topic
      if (message.topic === 'other') return
    })
  })

  it('needs a group, and refuses options that do not exist', () => {
    // @ts-expect-error no group
    void broker.consume(plainTopic, {}, () => undefined)
    // @ts-expect-error misspelt
    void broker.consume(plainTopic, { group: 'g', concurency: 5 }, () => undefined)
    // @ts-expect-error a batch has no rate
    void broker.consumeBatch(plainTopic, { group: 'g', rate: { max: 1, perMs: 1 } }, async () => undefined)
    // @ts-expect-error a pull has no concurrency
    void broker.pull(plainTopic, { group: 'g', concurrency: 5 })
    // @ts-expect-error an adapter's option that does not exist
    void broker.consume(plainTopic, { group: 'g', native: { horn: { muted: true } } }, () => undefined)
    void broker.consume(plainTopic, { group: 'g', concurrency: undefined, native: { horn: { mute: true } } }, () => undefined)
  })

  it('takes decisions from its handler, and nothing that looks like one', () => {
    void broker.consume(plainTopic, { group: 'g' }, () => retry({ afterMs: 5 }))
    void broker.consume(plainTopic, { group: 'g' }, async () => (Math.random() > 2 ? postpone({ afterMs: 5 }) : undefined))
    void broker.consume(plainTopic, { group: 'g' }, async () => drop('old'))
    // @ts-expect-error the decision was not made
    void broker.consume(plainTopic, { group: 'g' }, () => retry)
    // @ts-expect-error a word is no decision
    void broker.consume(plainTopic, { group: 'g' }, () => 'retry')
    // @ts-expect-error neither is true
    void broker.consume(plainTopic, { group: 'g' }, async () => true)
    // @ts-expect-error a postponement says how long
    postpone({})
    // @ts-expect-error a dead letter says why
    deadLetter()
    expectTypeOf(retry()).toEqualTypeOf<Decision>()
  })

  it('forwards what the other topic takes', () => {
    void broker.consume(plainTopic, { group: 'g' }, (message) => {
      message.forward(valibotTopic, { n: '1' }, { delayMs: 5 })
      // @ts-expect-error the output is not the input
      message.forward(valibotTopic, { n: 1 })
      // @ts-expect-error its id is derived
      message.forward(valibotTopic, { n: '1' }, { id: '1' })
    })
  })

  it('hands batches to a batch handler, which decides one by one', () => {
    void broker.consumeBatch(uncheckedTopic, { group: 'g', max: 10 }, async (messages) => {
      expectTypeOf(messages).toEqualTypeOf<readonly Message<{ readonly n: number }, 'unchecked'>[]>()
      return messages.map((message) => (message.value.n < 0 ? deadLetter('negative') : undefined))
    })
    // @ts-expect-error one decision for all says nothing about each
    void broker.consumeBatch(uncheckedTopic, { group: 'g' }, async () => retry())
  })

  it('pulls typed messages that settle themselves', async () => {
    const puller = await broker.pull([uncheckedTopic], { group: 'g' })
    expectTypeOf(puller).toEqualTypeOf<Puller<Message<{ readonly n: number }, 'unchecked'>>>()
    const [first] = await puller.receive({ max: 1 })
    expectTypeOf(first?.value).toEqualTypeOf<{ readonly n: number } | undefined>()
    expectTypeOf(first?.done).toEqualTypeOf<(() => Promise<'done' | 'stale' | 'unknown'>) | undefined>()
  })

  it('is told from the type of one topic what its messages are', () => {
    expectTypeOf<MessageOf<typeof arktypeTopic>>().toEqualTypeOf<Message<{ n: number }, 'arktype'>>()
    expectTypeOf<MessageOf<typeof arktypeTopic | typeof plainTopic>>().toEqualTypeOf<
      Message<{ n: number }, 'arktype'> | Message<unknown, 'plain'>
    >()
  })
})

describe('once', () => {
  interface Transaction {
    readonly query: (sql: string) => Promise<void>
  }
  const store = {} as OnceStore<Transaction>
  it('gives the handler the transaction of its store', () => {
    void broker.consume(plainTopic, { group: 'g', once: store }, async (_, tx) => {
      expectTypeOf(tx).toEqualTypeOf<Transaction>()
      await tx.query('insert …')
    })
    void broker.consume(plainTopic, { group: 'g', once: inMemoryOnce() }, (_, tx) => {
      expectTypeOf(tx).toEqualTypeOf<undefined>()
    })
  })

  it('gives no transaction where there is no store', () => {
    void broker.consume(plainTopic, { group: 'g' }, (_, tx) => {
      expectTypeOf(tx).toEqualTypeOf<undefined>()
    })
    // @ts-expect-error another store's transaction
    void broker.consume(plainTopic, { group: 'g', once: store }, async (_, tx: { readonly commit: () => void }) => tx.commit())
    assertType<ConsumeOptions<Transaction>>({ group: 'g', once: store })
  })
})

describe('dead letters', () => {
  const letters = broker.deadLetters(plainTopic, 'g')
  it('are listed one by one', async () => {
    for await (const letter of letters.list({ limit: 5 })) expectTypeOf(letter).toEqualTypeOf<DeadLetter>()
  })

  it('are chosen in words, never by leaving something out', () => {
    void letters.purge({ all: true })
    void letters.purge({ ids: ['1'] })
    void letters.replay({ where: (letter) => letter.attempts > 3 }, { ratePerSecond: 5 })
    // @ts-expect-error nothing was chosen
    void letters.purge({})
    // @ts-expect-error nothing was chosen
    void letters.purge()
    // @ts-expect-error all or not
    void letters.purge({ all: false })
    // @ts-expect-error an unknown option
    void letters.replay({ all: true }, { rate: 5 })
  })
})

describe('the broker', () => {
  it('gives the client that the adapter declares', () => {
    expectTypeOf(broker.native('horn')).toEqualTypeOf<{ blow(): void }>()
    // @ts-expect-error no adapter of that name
    broker.native('trumpet')
    expectTypeOf<keyof Adapters>().toExtend<string>()
  })

  it('disposes of itself', async () => {
    await using disposable = broker
    expectTypeOf(disposable.status).toEqualTypeOf<'connected' | 'recovering' | 'failed' | 'closed'>()
    expectTypeOf(disposable.health().reasons).toEqualTypeOf<readonly string[]>()
  })

  it('throws errors that can be told apart', () => {
    expectTypeOf<MessagingError['outcome']>().toEqualTypeOf<'failed' | 'unknown' | 'none'>()
  })
})
