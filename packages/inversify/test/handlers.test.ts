import { deadLetter, inMemoryOnce, type Message, type MessageOf, type Producer } from '@posthorn/core'
import { type TestBroker, testBroker } from '@posthorn/core/testing'
import { brokerModule, handlerModule, type MessageHandler, messageScope, producerModule, producerOf, start } from '@posthorn/inversify'
import { Container, type ServiceIdentifier } from 'inversify'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Diary, diary, mailSent, type Order, order, orderPlaced } from './shop.ts'

let broker: TestBroker
let container: Container
const lines: string[] = []
beforeEach(async () => {
  lines.length = 0
  broker = await testBroker({ log: false })
  container = new Container()
  container.bind(diary).toConstantValue({ write: (line) => void lines.push(line) })
  container.load(brokerModule({ broker }))
})
afterEach(async () => {
  await container.unbindAllAsync()
  await broker.close()
})

class OrderMail implements MessageHandler<typeof orderPlaced> {
  static made = 0
  readonly #diary: Diary
  readonly #mails: Producer<{ orderId: string }>
  constructor(diary: Diary, mails: Producer<{ orderId: string }>) {
    OrderMail.made += 1
    this.#diary = diary
    this.#mails = mails
  }
  async handle({ value, attempt }: MessageOf<typeof orderPlaced>): Promise<void> {
    this.#diary.write(`mail about ${value.orderId}, attempt ${attempt}`)
    if (value.orderId === 'busy' && attempt === 1) throw new Error('the mail server is busy')
    await this.#mails.send({ orderId: value.orderId })
  }
}
const mailing = () => [
  producerModule(mailSent),
  handlerModule(orderPlaced, { group: 'email' }, OrderMail, [diary, producerOf(mailSent)]),
]

describe('a handler class', () => {
  it('is made for each message, with what its constructor asks for', async () => {
    container.load(...mailing(), producerModule(orderPlaced))
    OrderMail.made = 0
    await start(container)
    expect(OrderMail.made).toBe(0)
    const orders = container.get(producerOf(orderPlaced))
    await orders.send(order('1'))
    await orders.send(order('2'))
    await broker.idle()
    expect(lines).toEqual(['mail about 1, attempt 1', 'mail about 2, attempt 1'])
    expect(OrderMail.made).toBe(2)
    expect((await broker.sent(mailSent, { orderId: '2' })).value).toEqual({ orderId: '2' })
  })

  it('is tried again when it throws, with a new object, and sets aside what it decides to', async () => {
    class Strict implements MessageHandler<typeof orderPlaced> {
      handle(): ReturnType<typeof deadLetter> {
        return deadLetter('not for us')
      }
    }
    container.load(...mailing(), handlerModule(orderPlaced, { group: 'push' }, Strict, []))
    OrderMail.made = 0
    await start(container)
    await broker.producer(orderPlaced).send(order('busy'))
    const message = await broker.handled(orderPlaced, { orderId: 'busy' }, { group: 'email' })
    expect(message.attempt).toBe(2)
    expect(OrderMail.made).toBe(2)
    expect(await broker.deadLettered(orderPlaced)).toMatchObject({ group: 'push', reason: 'not for us' })
  })

  it('may handle several topics, and one class several groups', async () => {
    class Audit implements MessageHandler<typeof orderPlaced | typeof mailSent> {
      readonly #diary: Diary
      constructor(diary: Diary) {
        this.#diary = diary
      }
      handle(message: MessageOf<typeof orderPlaced | typeof mailSent>): void {
        const who = message.topic === 'orders.placed' ? message.value.userId : 'nobody'
        this.#diary.write(`${message.group}: ${message.topic} of ${who}`)
      }
    }
    await broker.declare([orderPlaced, mailSent], { groups: ['books'] })
    container.load(handlerModule([orderPlaced, mailSent], { group: 'books' }, Audit, [diary]), handlerModule(orderPlaced, { group: 'push' }, Audit, [diary]))
    await start(container)
    await broker.producer(orderPlaced).send(order('1'))
    await broker.producer(mailSent).send({ orderId: '1' })
    await broker.handled(mailSent, {}, { group: 'books' })
    await broker.handled(orderPlaced, {}, { group: 'push' })
    expect(lines.sort()).toEqual(['books: mails.sent of nobody', 'books: orders.placed of ada', 'push: orders.placed of ada'])
  })

  it('may be bound elsewhere, in another scope', async () => {
    let made = 0
    const handler = Symbol('counter') as ServiceIdentifier<MessageHandler<typeof orderPlaced>>
    container
      .bind(handler)
      .toDynamicValue(() => ({ handle: () => void lines.push(String(++made)) }))
      .inSingletonScope()
    container.load(handlerModule(orderPlaced, { group: 'email' }, handler))
    await start(container)
    await broker.producer(orderPlaced).send(order('1'))
    await broker.producer(orderPlaced).send(order('2'))
    await broker.idle()
    expect(lines).toEqual(['1', '2'])
  })

  it('gets the transaction of its once store', async () => {
    class Counting implements MessageHandler<typeof orderPlaced, string> {
      handle(_: Message<Order>, tx: string): void {
        lines.push(`in ${tx}`)
      }
    }
    const memory = inMemoryOnce()
    const once = { run: memory.run.bind(memory) } as never
    container.load(handlerModule(orderPlaced, { group: 'email', once }, Counting, []))
    await start(container)
    await broker.producer(orderPlaced).send(order('1'), { id: 'same' })
    await broker.producer(orderPlaced).send(order('1'), { id: 'same' })
    await broker.idle()
    expect(lines).toEqual(['in undefined'])
  })
})

describe('the scope of a message', () => {
  interface Log {
    say(text: string): void
  }
  const log = Symbol('log') as ServiceIdentifier<Log>
  class Repository {
    readonly log: Log
    constructor(log: Log) {
      this.log = log
    }
  }
  class Booking implements MessageHandler<typeof orderPlaced> {
    readonly #log: Log
    readonly #repository: Repository
    constructor(log: Log, repository: Repository) {
      this.#log = log
      this.#repository = repository
    }
    async handle({ value }: MessageOf<typeof orderPlaced>): Promise<void> {
      this.#log.say(this.#log === this.#repository.log ? 'one log' : 'two logs')
      await Promise.resolve()
      this.#log.say(`booked ${value.orderId}`)
      if (value.orderId === 'bad') throw new Error('no')
    }
  }
  let logs = 0
  beforeEach(() => {
    logs = 0
    container
      .bind(log)
      .toResolvedValue((scope) => {
        logs += 1
        scope.onRelease(() => void lines.push(`${scope.message.id} released`))
        return { say: (text: string) => void lines.push(`${scope.message.id} ${text}`) }
      }, [messageScope()])
      .inRequestScope()
    container
      .bind(Repository)
      // An asynchronous part: what stands beside it still finds the scope.
      .toResolvedValue(async (shared: Log) => new Repository(shared), [log])
      .inRequestScope()
    container.load(handlerModule(orderPlaced, { group: 'email', retry: false }, Booking, [log, Repository]))
  })

  it('gives everything that is made for one message the same message, and releases it when the handler has ended', async () => {
    await start(container)
    const orders = broker.producer(orderPlaced)
    await Promise.all(['1', '2', '3'].map((id) => orders.send(order(id, `user ${id}`), { id })))
    await broker.idle()
    for (const id of ['1', '2', '3'])
      expect(lines.filter((line) => line.startsWith(id))).toEqual([`${id} one log`, `${id} booked ${id}`, `${id} released`])
    expect(logs).toBe(3)
  })

  it('is released when the handler fails, too', async () => {
    await start(container)
    await broker.producer(orderPlaced).send(order('bad'), { id: 'bad' })
    await broker.deadLettered(orderPlaced)
    expect(lines.at(-1)).toBe('bad released')
  })

  it('makes the attempt fail where a release fails, after all others ran', async () => {
    class Leaky implements MessageHandler<typeof orderPlaced> {
      constructor(scope: { onRelease(release: () => void): void }) {
        scope.onRelease(() => void lines.push('first one in, last one out'))
        scope.onRelease(() => {
          throw new Error('the transaction would not end')
        })
      }
      handle(): void {}
    }
    container.load(handlerModule(orderPlaced, { group: 'push', retry: false }, Leaky, [messageScope()]))
    await start(container)
    await broker.producer(orderPlaced).send(order('1'))
    expect(await broker.deadLettered(orderPlaced)).toMatchObject({ group: 'push', error: expect.stringContaining('would not end') })
    expect(lines).toContain('first one in, last one out')
  })

  it('refuses to be used after its end, and to be resolved outside of a message', async () => {
    const kept: { scope?: { onRelease(release: () => void): void } } = {}
    class Keeper implements MessageHandler<typeof orderPlaced> {
      constructor(scope: { onRelease(release: () => void): void }) {
        kept.scope = scope
      }
      handle(): void {}
    }
    container.load(handlerModule(orderPlaced, { group: 'push' }, Keeper, [messageScope()]))
    await start(container)
    expect(() => container.get(messageScope())).toThrow('cannot inject the scope of a message: none is being handled')
    await broker.producer(orderPlaced).send(order('1'), { id: 'one' })
    await broker.handled(orderPlaced, {}, { group: 'push' })
    expect(() => kept.scope?.onRelease(() => undefined)).toThrow(
      'cannot use the scope of message "one" of "orders.placed": its handler has ended',
    )
  })
})
