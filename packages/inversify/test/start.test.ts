import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, isMessagingError, type MessageOf } from '@posthorn/core'
import { memory } from '@posthorn/core/testing'
import { brokerModule, brokerOf, handlerModule, type MessageHandler, producerModule, producerOf, start, stop } from '@posthorn/inversify'
import { Container } from 'inversify'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type Diary, diary, mailSent, order, orderPlaced } from './shop.ts'

let container: Container
const lines: string[] = []
const silent = { log: false } as const
beforeEach(() => {
  lines.length = 0
  container = new Container()
})
afterEach(() => container.unbindAllAsync())

class Slow implements MessageHandler<typeof orderPlaced> {
  static readonly open: (() => void)[] = []
  readonly #diary: Diary
  constructor(diary: Diary) {
    this.#diary = diary
  }
  async handle({ value }: MessageOf<typeof orderPlaced>): Promise<void> {
    this.#diary.write(`begins ${value.orderId}`)
    await new Promise<void>((resolve) => void Slow.open.push(resolve))
    this.#diary.write(`ends ${value.orderId}`)
  }
}
const bindDiary = () => container.bind(diary).toConstantValue({ write: (line) => void lines.push(line) })
async function refusal(run: () => Promise<unknown>): Promise<string> {
  try {
    await run()
    return 'accepted'
  } catch (error) {
    return isMessagingError(error, 'INVALID_ARGUMENT') ? error.message : `another error: ${String(error)}`
  }
}
/** Waits until a line was written; the embedded broker needs turns of the event loop, not time. */
async function written(line: string): Promise<void> {
  const until = Date.now() + 5000
  while (!lines.includes(line)) {
    if (Date.now() > until) throw new Error(`"${line}" was not written, but ${lines.join(', ')}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('start', () => {
  it('connects to the broker that the configuration names', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posthorn-inversify-'))
    const before = process.cwd()
    onTestFinished(async () => {
      process.chdir(before)
      await rm(folder, { recursive: true, force: true })
    })
    await writeFile(join(folder, 'posthorn.config.json'), '{ "default": "main", "brokers": { "main": "memory:", "books": "memory:" } }')
    process.chdir(folder)
    container.load(brokerModule({ connect: silent }), brokerModule({ name: 'books', connect: silent }), producerModule(orderPlaced), producerModule(orderPlaced, { broker: 'books' }))
    const services = await start(container)
    expect(container.get(brokerOf()).status).toBe('connected')
    expect(container.get(brokerOf('books'))).not.toBe(container.get(brokerOf()))
    await container.get(producerOf(orderPlaced)).send(order('1'))
    await container.get(producerOf(orderPlaced, 'books')).send(order('2'))
    expect(services.health()).toEqual({ live: true, ready: true, reasons: [] })
    await services.close()
    expect(() => container.get(brokerOf())).toThrow('cannot resolve the broker "default": it is not connected')
  })

  it('says which binding is missing before it connects to anything', async () => {
    let opened = 0
    const inner = memory()
    const target = { ...inner, open: (...all: Parameters<typeof inner.open>) => (opened++, inner.open(...all)) }
    container.load(brokerModule({ target, connect: silent }), handlerModule(orderPlaced, { group: 'email' }, Slow, [diary]))
    expect(await refusal(() => start(container))).toBe(
      'cannot start the container: the handler Slow of "orders.placed" (group "email") cannot be made: no bindings found for service: "diary", ' +
        'needed by "Slow". bind it, or load the module that does, before start(container)',
    )
    expect(opened).toBe(0)
    bindDiary()
    await start(container)
    expect(opened).toBe(1)
  })

  it('names a producer that no module binds, and a handler that is bound nowhere', async () => {
    class Sender implements MessageHandler<typeof orderPlaced> {
      handle(): void {}
    }
    container.load(brokerModule({ target: 'memory:', connect: silent }))
    const anywhere = handlerModule(orderPlaced, { group: 'email' }, Symbol('nowhere'))
    container.load(anywhere)
    expect(await refusal(() => start(container))).toContain('the handler nowhere of "orders.placed" (group "email") cannot be made')
    await container.unloadAsync(anywhere)
    container.load(handlerModule(orderPlaced, { group: 'email' }, Sender, [producerOf(mailSent)] as never))
    expect(await refusal(() => start(container))).toContain('"posthorn producer of mails.sent", needed by "Sender"')
  })

  it('names a broker that no module binds, and one that two modules bind', async () => {
    bindDiary()
    const lost = handlerModule(orderPlaced, { group: 'email', broker: 'boks' }, Slow, [diary])
    container.load(brokerModule({ name: 'books', target: 'memory:' }), lost)
    expect(await refusal(() => start(container))).toBe(
      `cannot start the container: the handler of "orders.placed" is for the broker "boks", which no module binds. load brokerModule({ name: 'boks' }); bound are books`,
    )
    await container.unloadAsync(lost)
    container.load(brokerModule({ name: 'books', target: 'memory:' }))
    expect(await refusal(() => start(container))).toContain('two modules bind the broker "books"')
  })

  it('closes what it began when a consumer is refused, and can be tried again', async () => {
    bindDiary()
    const wrong = handlerModule(orderPlaced, { group: 'emial' }, Slow, [diary])
    const right = handlerModule(orderPlaced, { group: 'email' }, Slow, [diary])
    const inner = memory()
    const closed: string[] = []
    const target: typeof inner = {
      ...inner,
      async open(...all) {
        const session = await inner.open(...all)
        const close = session.close.bind(session)
        session.close = async () => {
          closed.push('session')
          await close()
        }
        return session
      },
    }
    container.load(brokerModule({ target, connect: silent }), right, wrong)
    expect(await refusal(() => start(container))).toContain('did you mean "email"?')
    expect(closed).toEqual(['session'])
    await container.unloadAsync(wrong)
    const services = await start(container)
    expect(services.consumers.map(({ state }) => state)).toEqual(['running'])
  })

  it('refuses a second start', async () => {
    container.load(brokerModule({ target: 'memory:', connect: silent }))
    const first = start(container)
    expect(await refusal(() => start(container))).toContain('it was started already')
    await first
    expect(await refusal(() => start(container))).toContain('it was started already')
  })
})

describe('the end of a container', () => {
  const endings: readonly (readonly [string, () => Promise<void>])[] = [
    ['stop(container)', () => stop(container)],
    ['container.unbindAllAsync()', () => container.unbindAllAsync()],
  ]
  it.each(endings)('by %s waits for the handlers that run', async (_, end) => {
    bindDiary()
    const target = memory()
    container.load(
      brokerModule({ target, connect: silent }),
      producerModule(orderPlaced),
      handlerModule(orderPlaced, { group: 'email' }, Slow, [diary]),
    )
    const { consumers } = await start(container)
    await container.get(producerOf(orderPlaced)).send(order('1'))
    await written('begins 1')
    const ended = end().then(() => lines.push('closed'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(consumers.map(({ state }) => state)).toEqual(['draining'])
    for (const finish of Slow.open.splice(0)) finish()
    await ended
    expect(lines).toEqual(['begins 1', 'ends 1', 'closed'])
    expect(consumers.map(({ state }) => state)).toEqual(['closed'])

    const after = await connect(target, silent)
    onTestFinished(() => after.close())
    expect(await after.lag(orderPlaced, 'email')).toMatchObject({ backlog: 0, unsettled: 0 })
  })

  it('leaves a broker open that was handed in, and closes only its consumers', async () => {
    const broker = await connect('memory:', silent)
    onTestFinished(() => broker.close())
    bindDiary()
    container.load(brokerModule({ broker }), handlerModule(orderPlaced, { group: 'email' }, Slow, [diary]))
    const services = await start(container)
    await services.close()
    expect(services.consumers[0]?.state).toBe('closed')
    expect(broker.status).toBe('connected')
  })

  it('does nothing to a container that was not started', async () => {
    await stop(container)
    container.load(brokerModule({ target: 'memory:' }))
    await container.unbindAllAsync()
  })
})

describe('a module', () => {
  it.each<readonly [string, () => unknown, string]>([
    ['an unknown option', () => brokerModule({ nam: 'a' } as never), 'there is no option "nam". did you mean "name"?'],
    ['a bad name', () => brokerModule({ name: 'Main' }), '"name" must be a token of a-z, 0-9 and inner dashes, not "Main"'],
    ['a broker and a target', () => brokerModule({ broker: {} as never, target: 'memory:' }), '"broker" is connected already'],
    ['no group', () => handlerModule(orderPlaced, undefined as never, Slow, [diary]), 'the options must be an object that names the group'],
    ['no handler', () => handlerModule(orderPlaced, { group: 'email' }, undefined as never), 'the handler must be a class, or an identifier'],
    ['an injection list without a class', () => handlerModule(orderPlaced, { group: 'email' }, 'id' as never, [] as never), 'the handler must be a class'],
    ['no name of a broker', () => producerModule(orderPlaced, { broker: '' }), '"broker" must be a text that is not empty'],
  ])('refuses %s', (_, make, message) => {
    expect(make).toThrow(message)
  })
})
