// Failures are visible without anybody having asked for it.

import type { Clause } from '../clause.ts'
import type { Order } from '../orders.ts'
import { deadIds } from './support.ts'

export const lifeVisible: readonly Clause[] = [
  {
    id: 'LIFE-20',
    title: 'Failures are visible by default',
    needs: 'memory',
    async run(t) {
      const misbehave = async (name: string, log: 'default' | 'own' | false, lines: string[]): Promise<void> => {
        const topic = t.topic(name, { groups: [] })
        const broker = await t.connect(
          log === 'default' ? { log: undefined } : { log: log === false ? false : (entry) => lines.push(entry.message) },
        )
        await broker
          .producer(topic)
          .send(t.orders(1)[0] as Order)
          .catch(() => {})
        const seen = t.recorder(name)
        await broker.consume(
          topic,
          t.consumeOptions({ retry: { attempts: 2, firstDelayMs: 100, factor: 1 } }),
          seen.handler(() => {
            throw new Error(`fails on purpose in ${name}`)
          }),
        )
        await t.send(broker, topic, t.orders(40))
        await t.until('there are dead letters', async () => (await deadIds(broker, topic)).length >= 40, 10_000)
        t.link(broker).cut()
        await t.until('it has recovered', () => broker.status === 'recovering', 5000)
        await t.until('it has recovered', () => broker.status === 'connected', t.recoverMs)
        await t.pass(1000)
        await broker.close()
      }
      const stdout: string[] = []
      const write = process.stdout.write
      process.stdout.write = ((chunk: unknown): boolean => {
        stdout.push(String(chunk))
        return true
      }) as typeof process.stdout.write
      try {
        const since = t.now()
        const before = t.stderr.length
        await misbehave('shown', 'default', [])
        const seconds = Math.ceil((t.now() - since) / 1000) + 1
        const lines = t.stderr
          .slice(before)
          .join('')
          .split('\n')
          .filter((line) => line !== '')
        const about = (text: string): readonly string[] => lines.filter((line) => line.includes(text))
        t.atLeast(about('failed on').length, 1, 'lines about failing handlers')
        t.atLeast(about('dead letters').length, 1, 'lines about dead letters')
        t.atLeast(about('lost').length, 1, 'lines about the lost connection')
        t.atLeast(about('back').length, 1, 'lines about the recovery')
        if (t.capabilities.retention === 'log') t.atLeast(about('starts with').length, 1, 'lines about the backlog of a new group')
        t.atMost(about('failed on').length, 2 * seconds + 1, `lines about failing handlers in ${seconds} s`)
        t.atMost(about('went to the dead letters').length, 2 * seconds + 1, `lines about dead letters in ${seconds} s`)
        for (const line of lines) t.ok(line.startsWith('posthorn '), `a line on stderr begins with "posthorn": ${line}`)
        const shown = t.stderr.length
        const own: string[] = []
        await misbehave('own', 'own', own)
        t.atLeast(own.filter((line) => line.includes('failed on')).length, 40, 'entries that the own log was given about failing handlers')
        t.equal(t.stderr.length, shown, 'writes to stderr beside an own log')
        await misbehave('silent', false, [])
        t.equal(t.stderr.length, shown, 'writes to stderr with log: false')
      } finally {
        process.stdout.write = write
      }
      t.equal(stdout, [], 'writes to stdout')
    },
  },
]
