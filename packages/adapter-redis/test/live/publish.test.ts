// What one script stores: what messages share is said once, and every message is stored with all of it.

import { expect, it, vi } from 'vitest'
import { onRedis } from './on-redis.ts'
import { assignment, content, join, message, never, plan, source, take } from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

onRedis('a batch', (on) => {
  it('of messages with few, the usual and many attributes, two hundred of them with their own, keeps each with all its fields in order', async () => {
    const one = await on.start()
    const topic = 'publish.heads'
    await one.session.declare({ topics: [plan(topic)] }, never)
    const usual = Object.freeze({ specversion: '1.0', source: 'shop', type: 'placed', datacontenttype: 'application/json' })
    const few = Object.freeze({ specversion: '1.0', source: 'shop' })
    const many = Object.freeze({ ...usual, subject: 'ä'.repeat(300), dataschema: 'urn:x', causationid: '7' })
    const sent = Array.from({ length: 300 }, (_, n) => {
      const attributes = n % 3 === 0 ? [usual, few, many][(n / 3) % 3] : { ...usual, causationid: `c-${n}` }
      return message(topic, `m-${n}`, { attributes: attributes ?? usual, key: n % 2 === 0 ? null : 'ada' })
    })
    const report = await one.session.publish(sent, never)
    expect(report.failures).toEqual([])
    const member = await join(one.session, source(topic, { maxUnsettled: 400 }))
    const got = (await take(await assignment(member), 300)).map(content)
    expect(got.map(({ id, key, attributes }) => ({ id, key, attributes: { ...attributes } }))).toEqual(
      sent.map(({ id, key, attributes }) => ({ id, key, attributes: { ...attributes } })),
    )
    await member.leave()
  })

  it('goes to the partition of each message, and tells the position of each', async () => {
    const one = await on.start()
    const topic = 'publish.partitions'
    await one.session.declare({ topics: [plan(topic, { partitions: 3 })] }, never)
    const sent = Array.from({ length: 9 }, (_, n) => message(topic, `m-${n}`, { partition: 2 - (n % 3) }))
    const report = await one.session.publish(sent, never)
    expect(report.failures).toEqual([])
    for (let partition = 0; partition < 3; partition++) {
      const entries = await on.see.xrange(`{${topic}}:${partition}`, '-', '+')
      const of = sent.flatMap((each, index) => (each.partition === partition ? [{ id: each.id, at: report.position(index) }] : []))
      expect(entries.map(([at, fields]) => ({ id: fields[fields.indexOf('ce_id') + 1], at: `${partition}:${at}` }))).toEqual(of)
    }
  })

  it('of which the server refuses one partition stores the others, and names those that it refused', async () => {
    const one = await on.start()
    const topic = 'publish.refused'
    await one.session.declare({ topics: [plan(topic, { partitions: 2 })] }, never)
    await on.see.del(`{${topic}}:1`)
    await on.see.set(`{${topic}}:1`, 'not a stream')
    const sent = Array.from({ length: 6 }, (_, n) => message(topic, `m-${n}`, { partition: n % 2 }))
    const report = await one.session.publish(sent, never)
    expect(report.failures.map(({ index }) => index)).toEqual([1, 3, 5])
    expect(await on.see.xlen(`{${topic}}:0`)).toBe(3)
    expect([0, 1].map((index) => report.position(index) === null)).toEqual([false, true])
  })
})
