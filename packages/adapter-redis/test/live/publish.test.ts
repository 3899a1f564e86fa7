// What one script stores: what messages share is said once, and every message is stored with all of it.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { assignment, content, join, message, never, plan, source, take } from '@posthorn/conformance/live'
import { expect, it, vi } from 'vitest'
import { onRedis } from './on-redis.ts'

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

  it('stores what has a key, a time and a trace alone field by field like its neighbours that have more or less', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const usual = { key: 'ada', time: 1_793_613_600_123, transport: { traceparent } }
    const attributes = Object.freeze({ specversion: '1.0', source: 'shop', type: 'placed', datacontenttype: 'a/b', subject: 's' })
    const sent = [
      message(topic, 'usual', usual),
      message(topic, 'header', { ...usual, headers: { tenant: '7' } }),
      message(topic, 'no-key', { ...usual, key: null }),
      message(topic, 'empty', { ...usual, key: '', body: Buffer.alloc(0) }),
      message(topic, 'null', { ...usual, body: null }),
      message(topic, 'state', { ...usual, transport: { traceparent, tracestate: 'a=b' } }),
      message(topic, 'attempt', { ...usual, transport: { 'ph-attempt': '2' } }),
      message(topic, 'many', { ...usual, attributes }),
      message(topic, 'usual again', usual),
    ]
    expect((await one.session.publish(sent, never)).failures).toEqual([])
    const head = ['ce_specversion', '1.0', 'ce_source', 'test', 'ce_type', 'test', 'content-type', 'application/octet-stream']
    const many = ['ce_specversion', '1.0', 'ce_source', 'shop', 'ce_type', 'placed', 'content-type', 'a/b', 'ce_subject', 's']
    const time = ['ce_time', '2026-11-02T10:00:00.123Z']
    const key = ['ce_partitionkey', 'ada']
    const trace = ['traceparent', traceparent]
    expect((await on.see.xrange(`{${topic}}:0`, '-', '+')).map(([, fields]) => fields)).toEqual([
      [...head, 'ce_id', 'usual', ...time, ...key, ...trace, 'data', 'usual'],
      [...head, 'ce_id', 'header', ...time, ...key, 'h_tenant', '7', ...trace, 'data', 'header'],
      [...head, 'ce_id', 'no-key', ...time, ...trace, 'data', 'no-key'],
      [...head, 'ce_id', 'empty', ...time, 'ce_partitionkey', '', ...trace, 'data', ''],
      [...head, 'ce_id', 'null', ...time, ...key, ...trace, 'ph-null', '1'],
      [...head, 'ce_id', 'state', ...time, ...key, ...trace, 'tracestate', 'a=b', 'data', 'state'],
      [...head, 'ce_id', 'attempt', ...time, ...key, 'ph-attempt', '2', 'data', 'attempt'],
      [...many, 'ce_id', 'many', ...time, ...key, ...trace, 'data', 'many'],
      [...head, 'ce_id', 'usual again', ...time, ...key, ...trace, 'data', 'usual again'],
    ])
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

  it('leaves a report that is kept without its messages, because an application may keep receipts', async () => {
    const one = await on.start()
    const topic = await on.declared(one)
    const stored = async () => {
      const sent = [message(topic, 'now'), message(topic, 'later', { delayMs: 60_000 })]
      const report = await one.session.publish(sent, never)
      return { report, messages: sent.map((each) => new WeakRef(each)) }
    }
    const { report, messages } = await stored()
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    await vi.waitFor(() => {
      collect()
      expect(messages.map((each) => each.deref() === undefined)).toEqual([true, true])
    })
    expect([report.position(0), report.position(1)]).toEqual([expect.stringMatching(/^0:\d+-\d+$/), null])
  })
})
