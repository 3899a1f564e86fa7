// The auditor of RabbitMQ, and the inspector that it asks, against a real server with data that another client put there. Without a
// server they are skipped.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type AuditorProcess, auditorProcess, auditorProgram } from '@posthorn/conformance/auditor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findBroker, pythonWith, type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { askInspector, type Inspector, inspectorBack, loadInspector } from './inspector.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const main = (topic: string) => ({ topic, role: 'main', group: null }) as const
/** Kafka's partition of the key "ada" among two: known by heart, as no hash of ours may judge another. */
const partitionOfAda = 1

const rabbitThere = await findBroker('rabbitmq')
describe.skipIf(!rabbitThere.available)(
  `the auditor of ${rabbitThere.available ? rabbitThere.title : 'RabbitMQ (no server here)'}`,
  { timeout: 30_000 },
  () => {
    let server: RunningBroker
    let auditor: AuditorProcess
    let inspector: Inspector
    let python: string
    const user = { name: 'posthorn', password: 'secret' }
    const admin = { name: 'auditor', password: 'secret', tags: ['administrator'] }

    beforeAll(async () => {
      server = await startBroker('rabbitmq', { users: [user, admin], vhosts: ['suite'], settings: ['collect_statistics = fine'] })
      inspector = await loadInspector(server)
      python = await pythonWith(['pika==1.3.2'])
      const url = `amqp://auditor:secret@127.0.0.1:${server.port}/suite`
      auditor = await auditorProcess({
        python,
        program: auditorProgram('rabbitmq'),
        open: { url, user: user.name, password: user.password, vhost: 'suite', inspector },
      })
      await somebody().hear('ready')
    }, 180_000)
    afterAll(async () => {
      other?.child.kill('SIGKILL')
      await auditor?.close()
      await server?.stop()
    }, 60_000)

    let other: ReturnType<typeof person> | undefined
    const somebody = (): ReturnType<typeof person> => (other ??= person(python, server.url))

    it('writes as a plain client does, and reads the same back without touching the queue', async () => {
      await somebody().say('declare', 'plain', 2, ['g', 'h'])
      const message = {
        id: 'i1',
        key: 'ada',
        body: new Uint8Array([0, 255, 10]),
        time: 1_700_000_000_123,
        expiresAt: 1_800_000_000_000,
        attributes: { specversion: '1.0', source: '/s', type: 't', datacontenttype: 'text/plain' },
        headers: { tenant: 'nörd' },
        transport: { traceparent: '00-1' },
      }
      expect(await auditor.write('plain', message)).toBe('')
      const p = partitionOfAda
      const found = { ...message, partition: p, position: '', undecodable: null, dueAt: null }
      for (let n = 0; n < 2; n++) expect(await auditor.read(main('plain'))).toEqual([found])
      expect(await somebody().say('get', `plain__g:${p}`)).toEqual(['single active'])
      expect([await auditor.remaining('plain', 'g'), await auditor.remaining('plain', 'h')]).toEqual([1, 1])
    })

    it('reads what another client wrote, and says what is no text', async () => {
      await somebody().say('declare', 'foreign', null, ['g'])
      await somebody().say('publish', 'foreign', '', 'plain', { colour: 'red', size: 3 })
      await auditor.write('foreign', { body: utf8('x'), undecodable: 'bytes', rawHeaders: { bytes: new Uint8Array([255]) } })
      await auditor.write('foreign', { id: 'n', body: null })
      const found = await auditor.read(main('foreign'))
      expect(found.map(({ id, headers, undecodable }) => [id, headers, undecodable === null])).toEqual([
        [null, { colour: 'red', size: '3' }, true],
        [null, null, false],
        ['n', null, true],
      ])
      expect(found[2]?.body).toBeNull()
    })

    it('counts what is handed out and settled, and what another group has still', async () => {
      await somebody().say('declare', 'counts', 1, ['g', 'h'])
      for (let n = 0; n < 5; n++) await auditor.write('counts', { id: `i${n}`, body: utf8(`${n}`) })
      await somebody().say('consume', 'counts__g:0', 3)
      await somebody().hear('delivered 3')
      expect([await auditor.remaining('counts', 'g'), await auditor.unsettled('counts', 'g')]).toEqual([5, 3])
      await somebody().say('ack', 'counts__g:0', 2)
      await expect.poll(() => auditor.remaining('counts', 'g')).toBe(4)
      await expect.poll(() => auditor.settles('counts', 'g')).toEqual({ settled: 1, stale: 0, handedOut: 4, repeated: 0 })
      expect((await auditor.read(main('counts'))).map(({ id }) => id)).toEqual(['i0', 'i1', 'i2', 'i3', 'i4'])
      await auditor.remove({ topic: 'counts', group: 'h' })
      expect((await auditor.read(main('counts'))).map(({ id }) => id)).toEqual(['i0', 'i2', 'i3', 'i4'])
      expect(await auditor.owners('counts', 'g')).toEqual(new Map([[0, 'someone']]))
    })

    it('reads what waits in a lane, and until when', async () => {
      await somebody().say('declare', 'lanes', null, ['g'])
      await somebody().say('lane', 'lanes__g__retry__60', 60_000)
      await somebody().say('publish', '', 'lanes__g__retry__60', 'later', { 'ph-attempt': '2' })
      const [found, ...others] = await auditor.read({ topic: 'lanes', role: 'retry', group: 'g' })
      expect([others, found?.transport, Buffer.from(found?.body ?? []).toString()]).toEqual([[], { 'ph-attempt': '2' }, 'later'])
      expect(Math.abs((found?.dueAt ?? 0) - Date.now() - 60_000)).toBeLessThan(20_000)
      expect([await auditor.remaining('lanes', 'g'), await auditor.unsettled('lanes', 'g')]).toEqual([1, 0])
    })

    it('ends the connection of a member', async () => {
      await auditor.expel('someone')
      await somebody().hear('expelled')
      await expect.poll(() => auditor.owners('counts', 'g')).toEqual(new Map())
      await expect.poll(() => auditor.unsettled('counts', 'g')).toBe(0)
    })

    it('takes one right on one topic away from channels that are open, and gives it back', async () => {
      for (const topic of ['a', 'ab']) {
        await somebody().say('declare', topic, null, ['g'])
        await somebody().say('publish', topic, '', 'x', {})
      }
      await auditor.deny('publish', 'a')
      expect(await somebody().say('publish', 'ab', '', 'x', {})).toEqual(['published'])
      expect(await somebody().say('publish', 'a', '', 'x', {})).toEqual(['refused 403'])
      await auditor.deny('connect', null)
      expect(await somebody().say('connect')).toEqual(['not connected'])
      await auditor.allow()
      expect(await somebody().say('connect')).toEqual(['connected'])
      expect(await somebody().say('publish', 'a', '', 'x', {})).toEqual(['published'])
      await expect(auditor.deny('settle', 'a')).rejects.toMatchObject({ code: 'UNSUPPORTED' })
    })

    it('removes a partition, a group and a topic, and cuts a partition off', async () => {
      await somebody().say('declare', 'gone', 2, ['g', 'h'])
      for (const partition of [0, 1]) await auditor.write('gone', { body: utf8('x'), partition })
      await auditor.trim('gone', 0)
      expect((await auditor.read(main('gone'))).map(({ partition }) => partition)).toEqual([1])
      await auditor.remove({ topic: 'gone', partition: 1 })
      expect(await auditor.read(main('gone'))).toEqual([])
      await auditor.remove({ topic: 'gone', group: 'g' })
      await expect(auditor.remaining('gone', 'g')).rejects.toThrow('has no group "g"')
      await auditor.remove({ topic: 'gone' })
      expect(await auditor.exists('gone')).toBe(false)
    })

    it('goes on after the server was killed, and after it was emptied', async () => {
      await somebody().say('declare', 'kept', null, ['g'])
      await auditor.write('kept', { id: 'a', body: utf8('x') })
      await askInspector(inspector, 'sync')
      other?.child.kill('SIGKILL')
      await server.signal('SIGKILL')
      const later = auditor.read(main('kept'))
      await server.start()
      await inspectorBack(inspector, 'suite')
      expect((await later).map(({ id }) => id)).toEqual(['a'])
      await askInspector(inspector, 'empty', 'suite', ['posthorn', 'auditor'])
      expect(await auditor.exists('kept')).toBe(false)
    }, 200_000)
  },
)

/** Another client in another process: it says what happens, a line each. */
function person(python: string, url: string) {
  const child = spawn(python, ['-I', '-u', fileURLToPath(new URL('./person.py', import.meta.url)), url], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines: string[] = []
  let rest = ''
  let wake = (): void => {}
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
    wake()
  })
  const next = (): Promise<void> => new Promise((resolve) => (wake = resolve))
  return {
    child,
    async hear(line: string): Promise<void> {
      while (!lines.includes(line)) await next()
      lines.splice(lines.indexOf(line), 1)
    },
    async say(...words: readonly unknown[]): Promise<readonly string[]> {
      child.stdin.write(`${JSON.stringify(words)}\n`)
      while (!lines.includes('ok')) await next()
      lines.splice(lines.indexOf('ok'), 1)
      return lines.filter((line) => line.startsWith('= ')).map((line) => lines.splice(lines.indexOf(line), 1).join().slice(2))
    },
  }
}
