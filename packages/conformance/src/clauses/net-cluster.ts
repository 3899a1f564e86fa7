// NET-18: nodes of a cluster that go one after the other.

import type { Cluster } from '../abilities.ts'
import type { Order } from '../orders.ts'
import type { Trial } from '../trial.ts'

/** NET-18 */
export async function nodesLostInTurn(t: Trial): Promise<void> {
  const make = t.abilities.cluster?.bind(t.abilities) ?? t.notProven('this harness starts no cluster (cluster)')
  const cluster = await t.real(make())
  try {
    await underLoad(t, cluster)
  } finally {
    await cluster.stop()
  }
}

async function underLoad(t: Trial, cluster: Cluster): Promise<void> {
  const topic = t.topic('jobs')
  const seen = t.recorder()
  const to = { at: () => cluster.address, adapter: cluster.options, connectTimeoutMs: 30_000 }
  const [producer, consumer] = [await t.connect(to), await t.connect(to)]
  const handle = await consumer.consume(topic, t.consumeOptions(), seen.handler())
  const sender = producer.producer(topic, { timeoutMs: 30_000 })
  const stored: Order[] = []
  const open: Promise<unknown>[] = []
  let stopped = false
  const send = (): void => {
    const [order] = t.orders(1, { keyNames: [`key-${open.length % 16}`] })
    if (order === undefined) return
    const sent = sender.send(order, { id: order.id })
    open.push(
      sent.then(
        () => stored.push(order),
        () => {},
      ),
    )
  }
  const sending = (async (): Promise<void> => {
    for (; !stopped; await t.sleep(100)) send()
  })()
  const flows = async (what: string): Promise<void> => {
    const from = { stored: stored.length, handled: seen.finished }
    await t.until(`it flows ${what}`, () => stored.length >= from.stored + 30 && seen.finished >= from.handled + 30, {
      withinMs: 60_000,
      seen: () => ({ stored: stored.length, handled: seen.finished, statuses: [producer.status, consumer.status] }),
    })
  }
  try {
    await flows('at first')
    const leader = await cluster.leader(topic.name, 0)
    for (const [what, node, signal] of [
      ['after its leader died', leader, 'SIGKILL'],
      ...cluster.nodes.map((_, index) => [`after node ${index + 1} was restarted`, index, 'SIGTERM'] as const),
    ] as const) {
      const began = t.now()
      for (let n = 0; n < 16; n++) send()
      t.struck('sends', t.sends.filter(({ outcome }) => outcome === 'open').length)
      await cluster.nodes[node]?.signal(signal)
      await flows(`${what}, without it`)
      t.fact('recovery ms', t.now() - began)
      await cluster.nodes[node]?.start()
      await flows(what)
    }
  } finally {
    stopped = true
    await sending
  }
  await Promise.all(open)
  await t.until('all that was stored is handled', () => stored.every((order) => seen.of(order).length > 0), {
    withinMs: 60_000,
    seen: () => `${seen.finished} of ${stored.length}`,
  })
  t.equal(handle.state, 'running', 'the consumer in the end')
  t.equal([producer.status, consumer.status], ['connected', 'connected'], 'statuses in the end')
  t.note(`${stored.length} stored, ${seen.repeats} repeats`)
  await Promise.all([producer.close(), consumer.close()])
}
