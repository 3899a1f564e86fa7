import { describe, expect, it } from 'vitest'
import { count, type Row, type Seen, settle } from '../src/demo/ledger.ts'
import { readPurchases } from '../src/demo/purchases.ts'
import { planTrouble } from '../src/demo/trouble.ts'

// A check that cannot fail is worse than none: here the ledger is given every kind of mistake it is there to find.

const orders = readPurchases(600)
const trouble = planTrouble(orders)
const ids = orders.map(({ orderId }) => orderId)

/** What is seen when everything is right: what was dead arrives last. */
function allRight(): Seen {
  const arrivals = (always: ReadonlySet<string>) => [...ids.filter((id) => !always.has(id)), ...always]
  const audited = (what: 'told by email' | 'told by push', always: ReadonlySet<string>) =>
    arrivals(always).map((orderId) => ({ what, orderId }))
  return {
    accepted: [...ids],
    mailed: arrivals(trouble.email.always),
    pushed: arrivals(trouble.push.always),
    audited: [
      ...ids.map((orderId) => ({ what: 'ordered' as const, orderId })),
      ...audited('told by email', trouble.email.always),
      ...audited('told by push', trouble.push.always),
    ],
    booked: ids.map((orderId) => ({ orderId, late: false })),
    retried: { email: trouble.email.once, push: new Set([...trouble.push.once, ...trouble.push.always]) },
    dead: { email: [...trouble.email.always], push: [...trouble.push.always] },
    replayed: { email: trouble.email.always.size, push: trouble.push.always.size },
    announced: 0,
  }
}
const rowOf = (rows: readonly Row[], service: string) => rows.find((row) => row.service === service)
const wrong = (rows: readonly Row[]) => rows.flatMap(({ service, wrong }) => wrong.map((figure) => `${service} ${figure}`))
const judge = (change: Partial<Seen>) => settle(orders, trouble, { ...allRight(), ...change })

/** The first customer with two orders, both of which arrive without trouble. */
const [earlier, later] = (() => {
  const replayed = new Set([...trouble.email.always, ...trouble.push.always])
  const fine = orders.filter(({ orderId }) => !replayed.has(orderId))
  const second = fine.find(({ orderId }) => orderId.endsWith('-2') && fine.some((other) => other.orderId === orderId.replace(/2$/, '1')))
  if (second === undefined) throw new Error('no customer has two orders')
  return [second.orderId.replace(/2$/, '1'), second.orderId] as const
})()
const swapped = <T>(list: readonly T[], idOf: (item: T) => string): T[] => {
  const changed = [...list]
  const a = changed.findIndex((item) => idOf(item) === earlier)
  const b = changed.findIndex((item) => idOf(item) === later)
  const first = changed[a] as T
  changed[a] = changed[b] as T
  changed[b] = first
  return changed
}
const itself = (id: string) => id

describe('the ledger', () => {
  it('finds nothing wrong when everything arrived once and in order', () => {
    expect(wrong(judge({}))).toEqual([])
    expect(rowOf(judge({}), 'audit')).toMatchObject({ handled: 1800, lost: 0, twice: 0, outOfOrder: 0 })
  })

  it('reports a lost message', () => {
    expect(wrong(judge({ accepted: ids.slice(1) }))).toEqual(['order handled', 'order lost'])
    expect(wrong(judge({ mailed: allRight().mailed.slice(1) }))).toEqual(['email handled', 'email lost'])
    expect(wrong(judge({ pushed: allRight().pushed.slice(0, -1) }))).toEqual(['push handled', 'push lost'])
    expect(wrong(judge({ audited: allRight().audited.slice(0, -1) }))).toEqual(['audit handled', 'audit lost'])
    expect(wrong(judge({ booked: allRight().booked.slice(0, -1) }))).toEqual(['inventory handled', 'inventory lost'])
  })

  it('accepts what was announced to come again, and nothing beyond', () => {
    const pushed = [ids[0] ?? '', ...allRight().pushed]
    expect(wrong(judge({ pushed, announced: 1 }))).toEqual([])
    expect(wrong(judge({ pushed: [ids[0] ?? '', ...pushed], announced: 1 }))).toEqual(['push twice'])
    expect(wrong(judge({ mailed: [...allRight().mailed, ids[5] ?? ''], announced: 1 }))).toEqual(['email twice'])
  })

  it('reports a message that was handled twice', () => {
    expect(wrong(judge({ accepted: [...ids, ids[0] ?? ''] }))).toEqual(['order twice'])
    expect(wrong(judge({ mailed: [...allRight().mailed, ids[5] ?? ''] }))).toEqual(['email twice'])
    expect(wrong(judge({ pushed: [ids[0] ?? '', ...allRight().pushed] }))).toEqual(['push twice'])
    expect(wrong(judge({ audited: [...allRight().audited, { what: 'told by push', orderId: ids[0] ?? '' }] }))).toEqual(['audit twice'])
    expect(wrong(judge({ booked: [...allRight().booked, { orderId: ids[0] ?? '', late: false }] }))).toEqual(['inventory twice'])
  })

  it('does not let a lost message and a repeated one cancel each other', () => {
    const mailed = [...allRight().mailed.slice(1), allRight().mailed[1] ?? '']
    expect(wrong(judge({ mailed }))).toEqual(['email handled', 'email lost', 'email twice'])
  })

  it('reports two messages of one customer that changed places', () => {
    expect(wrong(judge({ mailed: swapped(allRight().mailed, itself) }))).toEqual(['email outOfOrder'])
    expect(wrong(judge({ pushed: swapped(allRight().pushed, itself) }))).toEqual(['push outOfOrder'])
    expect(wrong(judge({ audited: swapped(allRight().audited, ({ orderId }) => orderId) }))).toEqual(['audit outOfOrder'])
    expect(wrong(judge({ booked: swapped(allRight().booked, ({ orderId }) => orderId) }))).toEqual(['inventory outOfOrder'])
  })

  it('believes the inventory service when it says that a purchase came late', () => {
    const booked = allRight().booked.map((sale, i) => (i === 3 ? { ...sale, late: true } : sale))
    expect(wrong(judge({ booked }))).toEqual(['inventory outOfOrder'])
  })

  it('reports what nobody ordered', () => {
    expect(wrong(judge({ mailed: [...allRight().mailed, 'bad-1'] }))).toEqual(['email unknown'])
  })

  it('reports a wrong number of retries, dead letters and replays', () => {
    expect(wrong(judge({ retried: { ...allRight().retried, email: new Set() } }))).toEqual(['email retried'])
    expect(wrong(judge({ dead: { ...allRight().dead, push: [] } }))).toEqual(['push dead'])
    expect(wrong(judge({ replayed: { email: 0, push: 0 } }))).toEqual(['email replayed', 'push replayed'])
  })

  it('reports dead letters that are as many as they must be, but of other orders', () => {
    const push = ids.slice(0, trouble.push.always.size)
    expect(wrong(judge({ dead: { ...allRight().dead, push } }))).toEqual(['push dead'])
  })

  it('counts the order of each customer for itself and leaves out what was replayed', () => {
    const laneOf = (id: string) => id.slice(0, 1)
    expect(count(['a1', 'b1', 'a2', 'b2'], ['b1', 'b2', 'a1', 'a2'], laneOf, new Set())).toMatchObject({ outOfOrder: 0 })
    expect(count(['a1', 'b1', 'a2', 'b2'], ['b2', 'a1', 'a2', 'b1'], laneOf, new Set())).toMatchObject({ outOfOrder: 1 })
    expect(count(['a1', 'b1', 'a2', 'b2'], ['b2', 'a1', 'a2', 'b1'], laneOf, new Set(['b1']))).toMatchObject({ outOfOrder: 0 })
  })
})
