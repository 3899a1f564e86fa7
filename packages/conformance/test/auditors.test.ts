// An auditor against a real server, with data that other hands put there. Without a server it is skipped. That of RabbitMQ is shown
// beside its harness.

import { type AuditorProcess, auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findBroker, pythonWith, type RunningBroker, startBroker } from '../../../tools/brokers/index.mjs'
import { partitionOfKey as partitionOf } from '../src/murmur2.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const main = (topic: string) => ({ topic, role: 'main', group: null }) as const

const redisThere = await findBroker('redis')
describe.skipIf(!redisThere.available)(
  `the auditor of ${redisThere.available ? redisThere.title : 'Redis (no server here)'}`,
  { timeout: 30_000 },
  () => {
    let server: RunningBroker
    let auditor: AuditorProcess
    const cli = (...args: readonly string[]): Promise<string> => server.control(args)

    beforeAll(async () => {
      const users = ['posthorn', 'auditor'].map((name) => ({ name, password: 'secret' }))
      server = await startBroker('redis', { users })
      const python = await pythonWith(['redis==6.4.0'])
      const url = `redis://auditor:secret@127.0.0.1:${server.port}`
      auditor = await auditorProcess({ python, program: auditorProgram('redis'), open: { url, user: 'posthorn' } })
    }, 120_000)
    afterAll(async () => {
      await auditor?.close()
      await server?.stop()
    }, 30_000)

    async function declare(topic: string, partitions: number): Promise<void> {
      await cli('HSET', `{${topic}}:meta`, 'partitions', String(partitions), 'group:g', '1')
      for (let p = 0; p < partitions; p++) await cli('XGROUP', 'CREATE', `{${topic}}:${p}`, 'g', '0', 'MKSTREAM')
    }
    const readGroup = (key: string, count: number, from = '>'): Promise<string> =>
      cli(
        'EVAL',
        "return redis.call('XREADGROUP','GROUP','g','owner','COUNT',ARGV[1],'STREAMS',KEYS[1],ARGV[2])",
        '1',
        key,
        String(count),
        from,
      )

    it('writes as a plain client does, and reads the same back', async () => {
      await declare('plain', 2)
      const message = {
        id: 'i1',
        key: 'ada',
        body: new Uint8Array([0, 255, 10]),
        time: 1_700_000_000_123,
        expiresAt: 1_800_000_000_000,
        attributes: { specversion: '1.0', source: '/s', type: 't', datacontenttype: 'text/plain' },
        headers: { tenant: 'nörd', ['__proto__']: 'x' },
        transport: { traceparent: '00-1' },
      }
      const position = await auditor.write('plain', message)
      const p = partitionOf('ada', 2)
      expect(position).toMatch(new RegExp(`^${p}:\\d+-\\d+$`))
      expect(await auditor.read(main('plain'))).toEqual([{ ...message, partition: p, position, undecodable: null, dueAt: null }])
      const raw = await cli('XRANGE', `{plain}:${p}`, '-', '+')
      for (const field of [
        'ce_id',
        'ce_time',
        '2023-11-14T22:13:20.123Z',
        'ce_partitionkey',
        'content-type',
        'h_tenant',
        'traceparent',
        'data',
      ])
        expect(raw).toContain(field)
    })

    it('reads what redis-cli wrote, and says what is no text', async () => {
      await declare('foreign', 1)
      await cli('XADD', '{foreign}:0', '1-1', 'data', 'plain', 'colour', 'red')
      await cli('EVAL', "return redis.call('XADD',KEYS[1],'2-1','h_bytes','\\255','data','x')", '1', '{foreign}:0')
      await cli('XADD', '{foreign}:0', '3-1', 'ce_id', 'n', 'ph-null', '1')
      const found = await auditor.read(main('foreign'))
      expect(found.map(({ id, headers, undecodable }) => [id, headers, undecodable === null])).toEqual([
        [null, { colour: 'red' }, true],
        [null, null, false],
        ['n', null, true],
      ])
      expect(found[2]?.body).toBeNull()
    })

    it('counts what is handed out, settled, settled in vain and handed out again', async () => {
      await declare('counts', 1)
      const ids: string[] = []
      for (let n = 0; n < 5; n++) ids.push(((await auditor.write('counts', { body: utf8(`${n}`) })) as string).slice(2))
      expect([await auditor.remaining('counts', 'g'), await auditor.unsettled('counts', 'g')]).toEqual([5, 0])
      await readGroup('{counts}:0', 3)
      expect([await auditor.remaining('counts', 'g'), await auditor.unsettled('counts', 'g')]).toEqual([5, 3])
      const ack = (id: string | undefined): Promise<string> =>
        cli('EVAL', "return redis.call('XACK',KEYS[1],'g',ARGV[1])", '1', '{counts}:0', String(id))
      await ack(ids[1])
      expect(await auditor.positions('counts', 'g')).toEqual([0])
      await ack(ids[0])
      expect(await auditor.positions('counts', 'g')).toEqual([2])
      expect(await auditor.settles('counts', 'g')).toEqual({ settled: 2, stale: 0, handedOut: 3, repeated: 0 })
      await ack(ids[0])
      await readGroup('{counts}:0', 3, '0')
      expect(await auditor.settles('counts', 'g')).toEqual({ settled: 2, stale: 1, handedOut: 4, repeated: 1 })
      expect([await auditor.remaining('counts', 'g'), await auditor.unsettled('counts', 'g')]).toEqual([3, 1])
    })

    it('sees owners and members while their leases last, and expels one', async () => {
      await declare('owned', 2)
      const until = Date.now() + 60_000
      await cli('HSET', '{owned}:own:g', '0', `a~2/1|${until}`, '1', `b/2|${until}`, 'epoch', '2')
      await cli('ZADD', '{owned}:mem:g', String(until), 'a~2', String(until), 'b', '1', 'dead')
      expect(await auditor.owners('owned', 'g')).toEqual(
        new Map([
          [0, 'a'],
          [1, 'b'],
        ]),
      )
      expect(await auditor.members('owned', 'g')).toEqual(['a', 'b'])
      await auditor.expel('a')
      expect(await auditor.owners('owned', 'g')).toEqual(new Map([[1, 'b']]))
      expect(await auditor.members('owned', 'g')).toEqual(['b'])
    })

    it('takes one right on one topic away, and gives it back', async () => {
      const may = (...command: readonly string[]): Promise<string> => cli('ACL', 'DRYRUN', 'posthorn', ...command)
      await auditor.deny('publish', 'shop.a')
      expect(await may('XADD', '{shop.a}:3', '*', 'a', 'b')).toContain('no permissions')
      expect(await may('XADD', '{shop.a}:dead:g', '*', 'a', 'b')).toContain('no permissions')
      for (const key of ['{shop.b}:3', '{shop}:3', '{shop.aa}:3', '{shop.a}:bell:g', 'x'])
        expect(await may('XADD', key, '*', 'a', 'b')).toBe('OK')
      expect(await may('XACK', '{shop.a}:3', 'g', '1-1')).toBe('OK')
      await auditor.deny('settle', 'shop.a')
      expect(await may('XACK', '{shop.a}:3', 'g', '1-1')).toContain('no permissions')
      await auditor.allow()
      expect(await may('XADD', '{shop.a}:3', '*', 'a', 'b')).toBe('OK')
      await expect(auditor.deny('connect', null)).resolves.toBeNull()
      await auditor.allow()
    })

    it('removes a partition, a group and a topic, and cuts a partition off', async () => {
      await declare('gone', 2)
      for (const partition of [0, 1]) await auditor.write('gone', { body: utf8('x'), partition })
      await auditor.trim('gone', 0)
      expect((await auditor.read(main('gone'))).map(({ partition }) => partition)).toEqual([1])
      await auditor.remove({ topic: 'gone', partition: 1 })
      expect(await auditor.read(main('gone'))).toEqual([])
      await auditor.remove({ topic: 'gone', group: 'g' })
      await expect(auditor.remaining('gone', 'g')).rejects.toThrow('has no group "g"')
      await auditor.remove({ topic: 'gone' })
      expect(await auditor.exists('gone')).toBe(false)
      await expect(auditor.write('gone', { body: utf8('x') })).rejects.toThrow('there is no topic "gone"')
    })

    it('goes on after the server was killed', async () => {
      await declare('kept', 1)
      await auditor.write('kept', { id: 'a', body: utf8('x') })
      await server.signal('SIGKILL')
      const later = auditor.read(main('kept'))
      await server.start()
      expect((await later).map(({ id }) => id)).toEqual(['a'])
      expect((await auditor.counters()).connections).toBe(0)
    }, 30_000)
  },
)
