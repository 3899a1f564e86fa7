import { type Broker, type Middleware, type OnceStore, type StandardSchemaV1, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

const jobs = topic('user-code.jobs', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })
const retry = { attempts: 2, firstDelayMs: 10 }

function world() {
  const clock = virtualClock()
  const server = memoryServer({ clock })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let drawn = 0
  const random = (): number => (drawn = (drawn * 0.618 + 0.37) % 1)
  const open = (name: string, middleware: readonly Middleware[] = []): Promise<Broker> =>
    connectWith({ clock, random }, memory({ server }), { name, log: false, middleware })
  return { clock, server, sleep, open, dead: () => server.read({ topic: jobs.name, role: 'dead', group: 'workers' }).length }
}

describe('user code that breaks its promises', () => {
  it('a thenable that throws in then fails its attempt, and the consumer goes on', async () => {
    const { clock, server, sleep, open, dead } = world()
    const seen: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('one')
        await broker.consume(jobs, { group: 'workers', concurrency: 1, retry }, ((message: { value: string }) => {
          seen.push(message.value)
          if (message.value !== 'bad') return undefined
          return {
            then: () => {
              throw new Error('no promise')
            },
          }
        }) as never)
        const producer = broker.producer(jobs)
        await producer.send('bad')
        await producer.send('good')
        await sleep(5_000)
        expect(server.remaining(jobs.name, 'workers')).toBe(0)
        await broker.close()
      })(),
      10_000,
    )
    expect(seen.filter((each) => each === 'bad')).toHaveLength(2)
    expect(seen).toContain('good')
    expect(dead()).toBe(1)
  })

  it.each(['single', 'batch'] as const)('middleware that does not call next() and decides nothing fails the attempt (%s)', async (mode) => {
    const { clock, sleep, open, dead } = world()
    let runs = 0
    await drive(
      clock,
      (async () => {
        const broker = await open('one')
        const options = { group: 'workers', retry, middleware: [async () => undefined] }
        if (mode === 'single') await broker.consume(jobs, options, async () => void runs++)
        else await broker.consumeBatch(jobs, options, async () => void runs++)
        await broker.producer(jobs).send('x')
        await sleep(5_000)
        await broker.close()
      })(),
      10_000,
    )
    expect(runs).toBe(0)
    expect(dead()).toBe(1)
  })

  it.each(['single', 'batch'] as const)(
    'middleware that does not wait for next() settles nothing before the handler ended (%s)',
    async (mode) => {
      const { clock, sleep, open, dead } = world()
      let runs = 0
      const handler = async (): Promise<void> => {
        runs++
        await sleep(100)
        throw new Error('late')
      }
      await drive(
        clock,
        (async () => {
          const broker = await open('one')
          const options = { group: 'workers', retry, middleware: [(async (_, next) => void next()) satisfies Middleware] }
          if (mode === 'single') await broker.consume(jobs, options, handler)
          else await broker.consumeBatch(jobs, options, handler)
          await broker.producer(jobs).send('x')
          await sleep(5_000)
          await broker.close()
        })(),
        10_000,
      )
      expect(runs).toBe(2)
      expect(dead()).toBe(1)
    },
  )

  it.each(['single', 'batch'] as const)('a second next() of one middleware runs the handler no second time (%s)', async (mode) => {
    const { clock, sleep, open } = world()
    let runs = 0
    const twice: Middleware = async (_, next) => {
      await next()
      await next().catch(() => undefined)
    }
    await drive(
      clock,
      (async () => {
        const broker = await open('one')
        const options = { group: 'workers', retry, middleware: [twice] }
        if (mode === 'single') await broker.consume(jobs, options, async () => void runs++)
        else await broker.consumeBatch(jobs, options, async () => void runs++)
        await broker.producer(jobs).send('x')
        await sleep(5_000)
        await broker.close()
      })(),
      10_000,
    )
    expect(runs).toBe(1)
  })

  it('a store that runs its transaction again forwards under the same ids', async () => {
    const { clock, server, sleep, open } = world()
    const out = topic('user-code.out', { schema: unchecked<string>(), groups: ['workers'], partitions: 1 })
    await drive(
      clock,
      (async () => {
        const broker = await open('one')
        await broker.declare(out)
        const once: OnceStore<undefined> = {
          async once(_key, work) {
            await work(undefined)
            await work(undefined)
            return 'done'
          },
        }
        await broker.consume(jobs, { group: 'workers', once }, async (message) => message.forward(out, 'y'))
        await broker.producer(jobs).send('x')
        await sleep(1_000)
        await broker.close()
      })(),
      10_000,
    )
    expect(new Set(server.read({ topic: out.name, role: 'main', group: null }).map((each) => each.id)).size).toBe(1)
  })

  it('a pulled message that is lost while its schema thinks is handed out again', async () => {
    const { clock, server, sleep, open } = world()
    const slow = topic('user-code.slow', {
      schema: {
        '~standard': {
          version: 1,
          vendor: 'test',
          validate: async (value: unknown) => {
            await sleep(1_000)
            return { value: value as string }
          },
        },
      } satisfies StandardSchemaV1<string, string>,
      groups: ['workers'],
      partitions: 1,
    })
    const got: string[] = []
    await drive(
      clock,
      (async () => {
        const broker = await open('one')
        await broker.producer(slow).send('x')
        const puller = await broker.pull(slow, { group: 'workers' })
        const first = puller.receive({ waitMs: 3_000 })
        await sleep(500)
        for (const link of server.links()) link.cut()
        for (const message of [...(await first), ...(await puller.receive({ waitMs: 20_000 }))]) {
          got.push(String(message.value))
          await message.done()
        }
        await broker.close({ drainMs: 100 })
      })(),
      10_000,
    )
    expect(got).toEqual(['x'])
  })

  it('closing does not spin while a middleware still runs after its message was stored', async () => {
    const { clock, sleep, open } = world()
    let after = false
    await drive(
      clock,
      (async () => {
        const broker = await open('one', [
          async (_, next) => {
            await next()
            await sleep(500)
            after = true
          },
        ])
        const sent = broker.producer(jobs).send('x')
        await sleep(10)
        await broker.close()
        await sent
      })(),
      10_000,
    )
    expect(after).toBe(true)
  })
})
