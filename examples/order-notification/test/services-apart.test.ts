import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect, it } from 'vitest'
import { findBroker, startBroker } from '../../../tools/brokers/index.mjs'
import { startPushReceiver } from '../src/demo/push-receiver.ts'
import { createClient } from '../src/demo/replay.ts'
import { startSmtpReceiver } from '../src/demo/smtp-receiver.ts'
import { waitFor } from '../src/demo/wait.ts'

// Five terminals: each service in a process of its own, with nothing in common but the URL of the server.

const tsx = pathToFileURL(createRequire(new URL('../../../package.json', import.meta.url)).resolve('tsx')).href
const noTrouble = { once: new Set<string>(), always: new Set<string>() }
const order = { orderId: 'ada-1', userId: 'ada', productName: 'horn', price: 12.5, placedAt: '1997-01-18' }

interface Terminal {
  shown(): string
  end(): Promise<number | null>
}
function open(name: string, env: NodeJS.ProcessEnv): Terminal {
  const file = fileURLToPath(new URL(`../src/${name}-service.ts`, import.meta.url))
  const child = spawn(process.execPath, ['--conditions=@posthorn/source', '--import', tsx, file], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let shown = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      shown += text
    })
  }
  const ended = once(child, 'close').then(([code]) => code as number | null)
  return {
    shown: () => shown,
    end() {
      child.kill('SIGTERM')
      return ended
    },
  }
}

for (const broker of ['redis', 'rabbitmq', 'kafka', 'mqtt'] as const) {
  it(`the services, each started on its own, are one application on ${broker}`, { timeout: 120_000 }, async ({ skip }) => {
    if (process.env.POSTHORN_STRICT !== '1') {
      const found = await findBroker(broker)
      if (!found.available) skip(`${broker} is not to be had here: ${found.reason}`)
    }
    const server = await startBroker(broker)
    const mail = await startSmtpReceiver(noTrouble)
    const push = await startPushReceiver(noTrouble)
    const env = { ...process.env, POSTHORN_BROKER: server.url, PORT: '0', SMTP_URL: mail.url, PUSH_URL: push.url }
    // The consumers come later than the first order, and still get it.
    const terminals = new Map([['order', open('order', env)]])
    const shown = (name: string): string => terminals.get(name)?.shown() ?? ''
    const all = (): number => [...terminals.values()].reduce((sum, terminal) => sum + terminal.shown().length, 0)
    try {
      expect(await waitFor(() => shown('order').includes('POST http'), all, { patienceMs: 30_000 }), shown('order')).toBe(true)
      const url = /POST (http\S+)/.exec(shown('order'))?.[1] ?? ''
      const client = createClient(url, 1)
      expect(await client.post(order)).toMatchObject({ status: 201 })
      for (const name of ['email', 'push', 'audit', 'inventory']) terminals.set(name, open(name, env))
      await waitFor(() => push.calls.length > 0 && mail.mails.length > 0, all, { patienceMs: 30_000 })
      expect(await client.post({ ...order, orderId: 'ada-2' })).toMatchObject({ status: 201 })
      client.close()
      const told = (): number => shown('audit').match(/told by/g)?.length ?? 0
      await waitFor(() => told() >= 4 && shown('inventory').includes('ada-2'), all, { patienceMs: 30_000 })
      expect(mail.mails.map(({ orderId }) => orderId)).toEqual(['ada-1', 'ada-2'])
      expect(push.calls.map(({ orderId }) => orderId)).toEqual(['ada-1', 'ada-2'])
      expect(shown('inventory').match(/ada-\d: .*/g)).toEqual(['ada-1: horn', 'ada-2: horn'])
      expect(told()).toBe(4)
    } finally {
      const codes = await Promise.all([...terminals.values()].map((terminal) => terminal.end()))
      await Promise.all([mail.close(), push.close(), server.stop()])
      const ends = [...terminals].map(([name, { shown }], nth) =>
        codes[nth] === 0 ? name : `${name} ended with ${codes[nth]}: ${shown()}`,
      )
      expect(ends).toEqual([...terminals.keys()])
    }
  })
}
