import { spawn } from 'node:child_process'
import { randomHex, sleep } from '../../clock.ts'
import type { Yardstick } from '../../compare/client.ts'
import { type Usage, usageOf, usedBetween } from '../../compare/server-usage.ts'
import type { GivenServer } from '../../compare/servers.ts'
import type { Measured } from '../../compare/task.ts'
import { clientOf } from './wire.ts'

const partitions = 4

/** Kafka's own programs, `kafka-producer-perf-test` and `kafka-consumer-perf-test`. */
export const java: Yardstick = {
  name: 'java',
  promise: 'at least once',
  how: `kafka-producer-perf-test (acks all, batches of 64 KiB, linger 5 ms) and kafka-consumer-perf-test; ${partitions} partitions`,
  messages: 1_000_000,
  async run(server, { bytes, messages }) {
    const topic = `bench.y${randomHex(6)}`
    const admin = clientOf(server.url).admin()
    await admin.connect()
    try {
      await admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions: partitions }] })
      const produced = await runTool(server, 'producer-perf', [
        ...['--topic', topic, '--num-records', String(messages), '--record-size', String(bytes), '--throughput', '-1'],
        ...[
          '--producer-props',
          'acks=all',
          'batch.size=65536',
          'linger.ms=5',
          `bootstrap.servers=${new URL(server.url.replace(/^kafka:/, 'http:')).host}`,
        ],
      ])
      const consumed = await runTool(server, 'consumer-perf', ['--topic', topic, '--messages', String(messages), '--group', topic])
      const sent = Number(/(\d+) records sent, /.exec(produced.output.trim().split('\n').at(-1) ?? '')?.[1] ?? Number.NaN)
      const perSecond = Number(/records sent, ([\d.]+) records\/sec/.exec(produced.output.trim().split('\n').at(-1) ?? '')?.[1])
      // Its last line is a table of commas: among them the messages, and the milliseconds in which it fetched.
      const fields = (consumed.output.trim().split('\n').at(-1) ?? '').split(',').map((text) => text.trim())
      const received = Number(fields[4])
      const fetchMs = Number(fields[7])
      if (!(perSecond > 0) || !(fetchMs > 0))
        throw new Error(`Kafka's programs say something else than expected: ${produced.output.slice(-300)} ${consumed.output.slice(-300)}`)
      const faults = { lost: Math.max(0, sent - received), twice: 0, misordered: 0 }
      const common = { messages: sent, sent, confirmed: sent, received, faults, unsettled: 0 }
      return {
        measured: {
          produce: { ...common, ...produced.taken, wallMs: (sent / perSecond) * 1000 },
          consume: { ...common, ...consumed.taken, messages: received, wallMs: fetchMs },
        },
        notes: [],
      }
    } finally {
      await admin.deleteTopics({ topics: [topic] }).catch(() => undefined)
      await admin.disconnect()
    }
  },
}

/** Runs a program to its end; its processor time is that of its whole life, the start of its machine too. */
async function runTool(
  server: GivenServer,
  tool: string,
  args: readonly string[],
): Promise<{ readonly output: string; readonly taken: Pick<Measured, 'processorMs' | 'rssBytes' | 'server'> }> {
  const [program = '', ...before] = server.command(tool)
  if (program === '') throw new Error(`there is no ${tool} beside this server`)
  const serverBefore = usageOf(server.pid())
  const child = spawn(program, [...before, ...args], { detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text
  })
  const state: { code?: number | null } = {}
  child.once('exit', (code) => {
    state.code = code
  })
  child.once('error', () => {
    state.code = 127
  })
  let last: Usage = { processorMs: 0, rssBytes: 0 }
  while (state.code === undefined) {
    const now = usageOf(child.pid)
    if (now !== undefined) last = { processorMs: now.processorMs, rssBytes: Math.max(last.rssBytes, now.rssBytes) }
    await sleep(50)
  }
  if (state.code !== 0) throw new Error(`${tool} failed: ${(errors + output).trim().slice(-500)}`)
  const used = usedBetween(serverBefore, usageOf(server.pid()))
  return { output, taken: { ...last, ...(used === undefined ? {} : { server: used }) } }
}
