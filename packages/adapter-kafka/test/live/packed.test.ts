// Batches that Java's own producer packs, read from a real server; and one that is damaged on its disk.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join as pathOf } from 'node:path'
import * as zlib from 'node:zlib'
import { assignment, idsOf, join, message, never, type Opened, plan, source, take, until } from '@posthorn/conformance/live'
import type { Assignment } from '@posthorn/core/adapter'
import type { Admin } from 'kafkajs'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { describeOwn, open, positions, witness } from './server.ts'

vi.setConfig({ testTimeout: 120_000 })
const hasZstd = 'zstdDecompressSync' in zlib

describeOwn('batches that are packed', () => {
  let broker: RunningBroker
  let see: Admin
  const opened: Opened[] = []
  beforeAll(async () => {
    broker = await startBroker('kafka')
    see = await witness(broker.url)
  }, 120_000)
  afterEach(async () => {
    await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
  })
  afterAll(async () => {
    await see?.disconnect()
    await broker?.stop()
  })

  async function declared(topic: string): Promise<Opened> {
    const one = await open({ url: broker.url })
    opened.push(one)
    await one.session.declare({ topics: [plan(topic)] }, never)
    return one
  }

  const lines = Array.from({ length: 50 }, (_, at) => JSON.stringify({ orderId: at, userId: `user-${at}`, productName: 'CD', price: 12.5 }))
  async function produce(topic: string, codec: string, count: number): Promise<void> {
    const payloads = pathOf(broker.folder, 'payloads')
    writeFileSync(payloads, lines.join('\n'))
    const settings = [`bootstrap.servers=127.0.0.1:${broker.port}`, `compression.type=${codec}`, 'acks=all']
    const load = ['--num-records', String(count), '--throughput', '-1', '--payload-file', payloads]
    await broker.control(['producer-perf', '--topic', topic, ...load, '--producer-props', ...settings])
  }
  /** The file of a topic's only partition. */
  function logOf(topic: string): string {
    const folder = pathOf(broker.folder, 'data', `${topic}-0`)
    return pathOf(folder, readdirSync(folder).find((name) => name.endsWith('.log')) ?? '')
  }
  /** By which codecs the batches in it are packed, as they lie on the disk. */
  function codecsIn(log: Buffer): ReadonlySet<number> {
    const found = new Set<number>()
    for (let at = 0; at + 61 <= log.length && log.readInt32BE(at + 8) > 0; at += 12 + log.readInt32BE(at + 8))
      found.add(log.readInt16BE(at + 21) & 7)
    return found
  }

  it.each(['gzip', 'snappy', 'lz4', ...(hasZstd ? ['zstd'] : [])])('of Java in %s are messages like others', async (codec) => {
    const topic = `packed.${codec}`
    const { session } = await declared(topic)
    await produce(topic, codec, 1000)
    expect(codecsIn(readFileSync(logOf(topic)))).toEqual(new Set([['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(codec)]))
    const member = await join(session, source(topic, { maxUnsettled: 2000 }))
    const taken = await take(await assignment(member), 1000)
    const bodies = new Set(taken.map(({ content }) => String('body' in content ? content.body : 'none')))
    expect([...bodies].sort()).toEqual([...lines].sort())
    await member.leave()
  })

  it('one that is damaged on the disk ends the subscription, with its offset, when all before it is settled', async () => {
    const topic = 'packed.damaged'
    const { session } = await declared(topic)
    for (const id of ['a', 'b']) await session.publish([message(topic, id)], never)
    await produce(topic, 'snappy', 20)
    const log = readFileSync(logOf(topic))
    const last = log.lastIndexOf('orderId')
    log[last] = 0x21
    writeFileSync(logOf(topic), log, { flag: 'r+' })

    const all: Assignment[] = []
    const assignments = await session.subscribe(source(topic), never)
    const ended = (async () => {
      for await (const each of assignments) all.push(each)
    })().then(
      () => null,
      (error: unknown) => error,
    )
    const mine = await until('there is an assignment', () => all[0])
    const before = await take(mine, 2)
    expect(idsOf(before)).toEqual(['a', 'b'])
    expect(await mine.settle(before.map(({ token }) => token))).toBe('settled')
    const error = (await ended) as Error
    expect(error.message).toMatch(new RegExp(`partition 0 of "${topic}" cannot be read: the batch at offset 2: it is damaged.*checksum`))
    expect(await positions(see, `${topic}__workers`, topic)).toEqual([2])
  })
})
