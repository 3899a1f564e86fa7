import { type Broker, connect, inMemoryOnce, topic } from '@posthorn/core'
import { expect, it } from 'vitest'
import { findBroker, startBroker } from '../../../tools/brokers/index.mjs'
import { waitFor } from '../src/demo/wait.ts'
import { order } from '../src/topics.ts'

// The two procedures of docs/switching-brokers.md, with orders on their way all the time.

const orderPlaced = topic('switch.orders', { schema: order, key: (value) => value.userId, groups: ['email'] })
const count = 300
const customers = 7
const numbered = (n: number) => ({
  orderId: String(n),
  userId: `user ${n % customers}`,
  productName: 'horn',
  price: n,
  placedAt: '1997-01-18',
})
const retry = { firstDelayMs: 5, maxDelayMs: 20 }

/** What arrived, in its order; every eleventh order fails at first. */
function createWitness() {
  const arrived: string[] = []
  const failed = new Set<string>()
  return {
    arrived,
    async handle({ value }: { readonly value: { readonly orderId: string } }): Promise<void> {
      if (Number(value.orderId) % 11 === 0 && !failed.has(value.orderId)) {
        failed.add(value.orderId)
        throw new Error('the mail server is busy')
      }
      arrived.push(value.orderId)
    },
    counts() {
      const ids = new Set(arrived)
      const last = new Map<number, number>()
      let misordered = 0
      for (const id of arrived.map(Number)) {
        if (id < (last.get(id % customers) ?? -1)) misordered += 1
        last.set(id % customers, id)
      }
      return { different: ids.size, twice: arrived.length - ids.size, misordered }
    },
  }
}

/** Sends order after order to whatever broker is meant at the moment, until all are sent. */
async function produce(current: () => readonly Broker[], each: (n: number) => void): Promise<void> {
  for (let n = 0; n < count; n++) {
    await Promise.all(current().map((broker) => broker.producer(orderPlaced).send(numbered(n), { id: `order-${n}` })))
    each(n)
  }
}

/** The broker to move to: embedded, or a real server. Calls `use`, then takes it away. */
async function onNew(name: 'memory' | 'redis', use: (next: Broker) => Promise<void>, skip: (why: string) => void): Promise<void> {
  if (name === 'redis' && process.env.POSTHORN_STRICT !== '1') {
    const found = await findBroker('redis')
    if (!found.available) skip(`redis is not to be had here: ${found.reason}`)
  }
  const server = name === 'redis' ? await startBroker('redis') : undefined
  // The same name as before: ids are told apart by who sent them.
  const next = await connect(server?.url ?? 'memory:', { log: false, name: 'shop' })
  try {
    await use(next)
  } finally {
    await next.close()
    await server?.stop()
  }
}

for (const name of ['memory', 'redis'] as const) {
  it(`drain and move to ${name}: nothing is lost, repeated or out of order`, { timeout: 60_000 }, async ({ skip }) => {
    await onNew(
      name,
      async (next) => {
        const old = await connect('memory:', { log: false })
        const witness = createWitness()
        const before = await old.consume(orderPlaced, { group: 'email', retry }, witness.handle)
        // 1: the new server keeps everything for the groups from here on.
        await next.declare(orderPlaced)
        // 2: producers change over, one message after the other, while orders are on their way.
        let target = old
        await produce(
          () => [target],
          (n) => {
            if (n === 120) target = next
          },
        )
        // 3: the old server is finished by those who consume there.
        const left = async (): Promise<boolean> => {
          const { backlog, unsettled } = await old.lag(orderPlaced, 'email')
          return (backlog ?? 0) + (unsettled ?? 0) + before.stats().unsettled === 0
        }
        expect(await waitFor(left, () => witness.arrived.length)).toBe(true)
        expect(witness.counts()).toEqual({ different: 121, twice: 0, misordered: 0 })
        await old.close()
        // 4: the consumers change over.
        await next.consume(orderPlaced, { group: 'email', retry }, witness.handle)
        const all = () => witness.arrived.length >= count
        expect(await waitFor(all, () => witness.arrived.length)).toBe(true)
        expect(witness.counts()).toEqual({ different: count, twice: 0, misordered: 0 })
      },
      skip,
    )
  })

  it(`dual publishing to ${name}: with a once store each order has its effect once, and either server may end`, {
    timeout: 60_000,
  }, async ({ skip }) => {
    await onNew(
      name,
      async (next) => {
        const old = await connect('memory:', { log: false, name: 'shop' })
        const witness = createWitness()
        const once = inMemoryOnce()
        await next.declare(orderPlaced)
        const options = { group: 'email', retry, once } as const
        const before = await old.consume(orderPlaced, options, witness.handle)
        let both: readonly Broker[] = [old]
        const producing = produce(
          () => both,
          (n) => {
            if (n === 80) both = [old, next]
            if (n === 160) both = [next]
          },
        )
        const after = await next.consume(orderPlaced, options, witness.handle)
        await producing
        const ended = waitFor(
          () => before.stats().unsettled === 0,
          () => before.stats().handled,
        ).then(() => old.close())
        const all = () => new Set(witness.arrived).size >= count
        expect(await waitFor(all, () => after.stats().handled + before.stats().handled)).toBe(true)
        await ended
        expect(witness.counts()).toMatchObject({ different: count, twice: 0 })
      },
      skip,
    )
  })
}
