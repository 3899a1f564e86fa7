import type { Message } from '@posthorn/core'
import { describe, expect, it } from 'vitest'
import { type Order, order } from '../src/orders.ts'
import { createRecorder, type OpenRecorder } from '../src/recorder.ts'

function setUp(): { recorder: OpenRecorder; harmed: string[]; message(value: Order, attempt?: number): Message<Order> } {
  let now = 0
  const harmed: string[] = []
  const recorder = createRecorder({ name: 'group', now: () => now++, note() {}, harmed: (id) => harmed.push(id) })
  const message = (value: Order, attempt = 1): Message<Order> =>
    ({ id: value.id, value, key: value.key ?? undefined, topic: 'jobs', attempt, position: undefined }) as unknown as Message<Order>
  return { recorder, harmed, message }
}

describe('recorder', () => {
  it('counts each start and passes orders that came exactly once', async () => {
    const { recorder, message } = setUp()
    const orders = [order('a', 'k', 0), order('b', 'k', 1)]
    for (const each of orders) await recorder.handler()(message(each))
    recorder.exactly(orders)
    recorder.ordered()
    expect(recorder.done).toBe(2)
  })

  it('calls a second start of something done a repeat, and one after a failure not', async () => {
    const { recorder, message } = setUp()
    const [a, b] = [order('a', 'k', 0), order('b', 'l', 0)]
    await recorder.handler()(message(a))
    await recorder.handler()(message(a))
    const failing = recorder.handler(() => {
      throw new Error('on purpose')
    })
    await expect(failing(message(b))).rejects.toThrow('on purpose')
    await recorder.handler()(message(b, 2))
    expect(recorder.repeats).toBe(1)
    expect(() => recorder.exactly([a, b])).toThrow(/1 repeats/)
  })

  it('fails for what is missing and for what nobody sent', async () => {
    const { recorder, message } = setUp()
    const [a, b] = [order('a', 'k', 0), order('b', 'l', 0)]
    await recorder.handler()(message(a))
    expect(() => recorder.each([a, b])).toThrow(/1 of 2 orders were never done/)
    expect(() => recorder.each([])).toThrow(/1 came that are none/)
  })

  it('sees two handlers of one key at once', async () => {
    const { recorder, message } = setUp()
    const first = recorder.begin(message(order('a', 'k', 0)), 'm1')
    recorder.begin(message(order('b', 'k', 1)), 'm2')
    recorder.end(first, 'done')
    expect(() => recorder.ordered()).toThrow(/two handlers of one key/)
  })

  it('sees an order that comes after a later one of its key', async () => {
    const { recorder, message } = setUp()
    for (const each of [order('b', 'k', 1), order('a', 'k', 0)]) await recorder.handler()(message(each))
    expect(recorder.disorder()).toHaveLength(1)
  })

  it('sees an order that was passed while it waited for its next attempt', async () => {
    const { recorder, message } = setUp()
    const failing = recorder.handler(() => {
      throw new Error('on purpose')
    })
    await failing(message(order('a', 'k', 0))).catch(() => {})
    await recorder.handler()(message(order('b', 'k', 1)))
    await recorder.handler()(message(order('a', 'k', 0), 2))
    expect(recorder.disorder()).toHaveLength(1)
  })

  it('lets a replay after a crash go back', async () => {
    const { recorder, message } = setUp()
    const [a, b] = [order('a', 'k', 0), order('b', 'k', 1)]
    await recorder.handler()(message(a))
    recorder.end(recorder.begin(message(b), 'm1'), 'lost')
    for (const each of [a, b]) await recorder.handler()(message(each))
    expect(recorder.disorder()).toEqual([])
    expect(recorder.repeats).toBe(2)
  })

  it('notices a body that was changed on its way', async () => {
    const { recorder, message, harmed } = setUp()
    await recorder.handler()(message({ ...order('a', 'k', 0), seq: 7 }))
    expect(harmed).toEqual(['a'])
  })

  it('keeps markers apart from orders', async () => {
    const { recorder, message } = setUp()
    await recorder.handler()(message(order('fence:1', 'k', 0)))
    expect(recorder.starts).toEqual([])
    expect(recorder.hidden.get('fence:1')).toBe(1)
  })

  it('puts what other processes saw in the order of its times before it judges', () => {
    const { recorder } = setUp()
    const start = (run: number, id: string, seq: number, at: number, member: string) =>
      recorder.told({ kind: 'start', run, member, topic: 'jobs', id, key: 'k', seq, attempt: 1, position: undefined, at })
    const later = start(0, 'b', 1, 20, 'm2')
    const first = start(0, 'a', 0, 10, 'm1')
    recorder.told({ kind: 'end', run: 0, how: 'done', at: 15 }, first)
    recorder.told({ kind: 'end', run: 0, how: 'done', at: 25 }, later)
    expect(recorder.overlaps).toHaveLength(0)
    expect(recorder.disorder()).toHaveLength(0)
    expect(recorder.starts.map(({ id, n }) => [id, n])).toEqual([
      ['a', 0],
      ['b', 1],
    ])
    const again = start(1, 'a', 0, 30, 'm2')
    const beside = start(2, 'c', 2, 31, 'm1')
    recorder.told({ kind: 'end', run: 1, how: 'lost', at: 40 }, again)
    recorder.told({ kind: 'end', run: 2, how: 'done', at: 41 }, beside)
    expect(recorder.repeats).toBe(1)
    expect(recorder.overlaps).toHaveLength(1)
  })
})
