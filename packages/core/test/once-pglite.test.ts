// The recipe of docs/once.md on a real SQL engine. The page shows these very files; the last test compares them.
import { readFileSync } from 'node:fs'
import { PGlite, type Transaction as PGliteTransaction } from '@electric-sql/pglite'
import { type Broker, connect, deadLetter, topic, unchecked } from '@posthorn/core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { pgDatabase } from './support/pg-database.ts'
import { type Database, forgetOld, onceTable, sqlOnce, type Transaction } from './support/sql-once.ts'

const hour = 3_600_000
const orderPlaced = topic('orders.placed', { schema: unchecked<{ orderId: string }>(), groups: ['stock', 'email'] })
const message = { group: 'stock', topic: 'orders.placed', source: 'shop', id: '17' }

let db: PGlite
let broker: Broker
beforeAll(async () => {
  db = await PGlite.create()
}, 60_000)
afterAll(() => db.close())
beforeEach(async () => {
  await db.exec(`drop schema public cascade; create schema public; ${onceTable}; create table bookings (order_id text not null)`)
  broker = await connect('memory:', { log: false })
})
afterEach(() => broker.close())

const count = async (table: string): Promise<number> =>
  (await db.query<{ n: number }>(`select count(*)::int as n from ${table}`)).rows[0]?.n ?? -1
const book = (tx: Transaction, orderId: string): Promise<unknown> => tx.query('insert into bookings values ($1)', [orderId])

/** PGlite has one connection; a pool of one that hands it out in turn, as `pg` would. */
function poolOfOne(): Parameters<typeof pgDatabase>[0] & { readonly broken: boolean[] } {
  const broken: boolean[] = []
  let last: Promise<void> = Promise.resolve()
  return {
    broken,
    async connect() {
      const before = last
      let release: () => void = () => {}
      last = new Promise((resolve) => {
        release = resolve
      })
      await before
      return {
        query: (text, values) => db.query(text, values),
        release(isBroken) {
          broken.push(isBroken === true)
          release()
        },
      }
    },
  }
}

describe.each<[string, () => Database<PGliteTransaction> | Database<Transaction>]>([
  ['the client itself', () => db],
  ['a pool', () => pgDatabase(poolOfOne())],
])('effects and records in one transaction of %s', (_, database) => {
  const store = () => sqlOnce(database() as Database<Transaction>, hour)

  it('handles a message that is sent twice one time', async () => {
    let starts = 0
    await broker.consume(orderPlaced, { group: 'stock', once: store() }, async ({ value }, tx) => {
      starts++
      await book(tx, value.orderId)
    })
    const orders = broker.producer(orderPlaced)
    for (const id of ['17', '17', '18', '17']) await orders.send({ orderId: id }, { id })
    await vi.waitFor(async () => expect((await broker.lag(orderPlaced, 'stock')).backlog).toBe(0))
    await vi.waitFor(async () => expect(await count('bookings')).toBe(2))
    await broker.close()
    expect([starts, await count('bookings'), await count('handled_messages')]).toEqual([2, 2, 2])
  })

  it('rolls effect and record back together when the handler fails, and its next attempt runs', async () => {
    const attempts: number[] = []
    await broker.consume(orderPlaced, { group: 'stock', once: store(), retry: { firstDelayMs: 1 } }, async ({ value, attempt }, tx) => {
      await book(tx, value.orderId)
      attempts.push(attempt)
      if (attempt < 3) throw new Error('killed between the effect and the end')
    })
    await broker.producer(orderPlaced).send({ orderId: '17' })
    await vi.waitFor(async () => expect(await count('handled_messages')).toBe(1))
    expect(attempts).toEqual([1, 2, 3])
    expect(await count('bookings')).toBe(1)
  })

  it('takes a commit that fails for a failed attempt', async () => {
    await db.exec(
      'create table orders (id text primary key); alter table bookings add constraint known foreign key (order_id) references orders (id) deferrable initially deferred',
    )
    const attempts: number[] = []
    await broker.consume(orderPlaced, { group: 'stock', once: store(), retry: { firstDelayMs: 1 } }, async ({ value, attempt }, tx) => {
      attempts.push(attempt)
      if (attempt === 2) await tx.query('insert into orders values ($1)', [value.orderId])
      await book(tx, value.orderId)
    })
    await broker.producer(orderPlaced).send({ orderId: '17' })
    await vi.waitFor(async () => expect(await count('handled_messages')).toBe(1))
    expect([attempts, await count('bookings')]).toEqual([[1, 2], 1])
  })

  it('leaves no record of a dead letter, so that a replay runs', async () => {
    let fixed = false
    await broker.consume(orderPlaced, { group: 'stock', once: store() }, async ({ value }, tx) => {
      await book(tx, value.orderId)
      return fixed ? undefined : deadLetter('no such shelf')
    })
    await broker.producer(orderPlaced).send({ orderId: '17' })
    const dead = broker.deadLetters(orderPlaced, 'stock')
    await vi.waitFor(async () => {
      const reasons: string[] = []
      for await (const letter of dead.list()) reasons.push(letter.reason)
      expect(reasons).toEqual(['no such shelf'])
    })
    expect([await count('bookings'), await count('handled_messages')]).toEqual([0, 0])
    fixed = true
    await dead.replay({ all: true })
    await vi.waitFor(async () => expect(await count('bookings')).toBe(1))
    expect(await count('handled_messages')).toBe(1)
  })

  it('lets one of two copies at the same time work, and tells the other', async () => {
    const once = store()
    let works = 0
    const work = async (tx: Transaction): Promise<void> => {
      works++
      await book(tx, '17')
    }
    const answers = await Promise.all([once.once(message, work), once.once(message, work)])
    expect(answers.sort()).toEqual(['done', 'repeat'])
    expect([works, await count('bookings')]).toEqual([1, 1])
  })

  it('lets the second copy work when the first one fails, and passes the failure on unchanged', async () => {
    const once = store()
    const failure = new Error('no stock')
    const first = once.once(message, async (tx) => {
      await book(tx, '17')
      throw failure
    })
    const second = once.once(message, async (tx) => void (await book(tx, '17')))
    await expect(first).rejects.toBe(failure)
    expect(await second).toBe('done')
    expect([await count('bookings'), await count('handled_messages')]).toEqual([1, 1])
  })
})

it('keeps equal ids of other groups, topics and sources apart, and takes any id', async () => {
  const once = sqlOnce(db, hour)
  const others = [
    message,
    { ...message, group: 'email' },
    { ...message, topic: 'orders.paid' },
    { ...message, source: undefined },
    { ...message, source: '' },
  ]
  const odd = ['\0', 'x'.repeat(65_536), '\ud800', `17","id":"18`].map((id) => ({ ...message, id }))
  for (const each of [...others, ...odd]) expect(await once.once(each, async () => {})).toBe('done')
  for (const each of [...others, ...odd]) expect(await once.once(each, async () => {})).toBe('repeat')
})

it('recognises repeats inside the window and forgets what is older', async () => {
  const once = sqlOnce(db, hour)
  await once.once(message, async () => {})
  const age = (ms: number): Promise<unknown> =>
    db.query("update handled_messages set handled_at = now() - $1 * interval '1 millisecond'", [ms])
  await age(hour - 60_000)
  await forgetOld(db, hour)
  expect(await once.once(message, async () => {})).toBe('repeat')
  await age(hour + 1)
  await forgetOld(db, hour)
  expect(await once.once(message, async () => {})).toBe('done')
})

it('gives a connection back as broken when its transaction could not be ended', async () => {
  const released: (boolean | undefined)[] = []
  const database = pgDatabase({
    connect: async () => ({
      async query(text) {
        if (text !== 'begin') throw new Error('the connection is gone')
        return { rows: [] }
      },
      release: (broken) => released.push(broken),
    }),
  })
  await expect(database.transaction(async (tx) => tx.query('select 1'))).rejects.toThrow('the connection is gone')
  expect(released).toEqual([true])
})

it.each(['sql-once', 'pg-database'])('is what docs/once.md shows: %s', (name) => {
  const page = readFileSync(new URL('../../../docs/once.md', import.meta.url), 'utf8')
  const file = readFileSync(new URL(`./support/${name}.ts`, import.meta.url), 'utf8')
  expect(page).toContain(`\`\`\`ts\n${file}\`\`\``)
})
