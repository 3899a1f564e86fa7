import type { Broker, Consumer } from '@posthorn/core'
import type { Clause } from '../clause.ts'
import type { Recorder } from '../recorder.ts'
import type { Trial } from '../trial.ts'
import { grpDeclare } from './grp-declare.ts'
import { grpStart } from './grp-start.ts'

async function oneEach(t: Trial): Promise<void> {
  const topic = t.topic('one')
  const seen = t.recorder()
  await t.team(2, { topic, recorder: seen })
  const sender = await t.connect()
  const orders = t.orders(t.size(1000))
  await t.send(sender, topic, orders)
  await t.fence(sender, topic, seen)
  seen.exactly(orders)
  await t.settled(topic)
  t.equal((await t.auditor.settles(topic.name, 'workers')).repeated, 0, 'deliveries handed out again in a quiet run')
}

async function shared(t: Trial): Promise<void> {
  for (const keyed of [true, false]) {
    const topic = t.topic(keyed ? 'keyed' : 'keyless', { keyed })
    const seen = t.recorder()
    const team = await t.team(2, { topic, recorder: seen })
    const sender = await t.connect()
    const orders = t.orders(t.size(1000))
    await t.send(sender, topic, orders)
    await t.fence(sender, topic, seen)
    // A queue that members share hands the markers to one of them while another still handles what it was handed before.
    await t.until('all are done', () => seen.done >= orders.length, { seen: () => seen.done })
    seen.exactly(orders)
    for (const { name, starts } of team)
      t.ok(
        starts > orders.length / 10,
        `${name} handles more than a tenth of the ${keyed ? 'keyed' : 'key-less'} messages: ${starts} of ${orders.length}`,
      )
  }
}

async function everyGroup(t: Trial): Promise<void> {
  const topic = t.topic('every', { groups: ['email', 'push'] })
  const [email, push] = [t.recorder('email'), t.recorder('push')]
  await Promise.all([t.team(2, { topic, group: 'email', recorder: email }), t.team(2, { topic, group: 'push', recorder: push })])
  const sender = await t.connect()
  // Warm-ups of one group are messages of the other too.
  await t.fence(sender, topic, email, push)
  const orders = t.orders(t.size(1000))
  await t.send(sender, topic, orders)
  await t.fence(sender, topic, email, push)
  email.exactly(orders)
  push.exactly(orders)
  await t.settled(topic, 'email')
  await t.settled(topic, 'push')
}

async function broadcastTo(
  t: Trial,
  topic: ReturnType<Trial['topic']>,
  seen: Recorder,
): Promise<{ readonly broker: Broker; readonly consumer: Consumer }> {
  const broker = await t.connect()
  const consumer = await broker.consume(topic, t.consumeOptions({ group: 'screens', broadcast: true }), seen.handler())
  return { broker, consumer }
}

async function matrix(t: Trial): Promise<void> {
  const topic = t.topic('matrix', { groups: ['email', 'push'] })
  const [email, push, first, second] = ['email', 'push', 'screen 1', 'screen 2'].map((name) => t.recorder(name)) as [
    Recorder,
    Recorder,
    Recorder,
    Recorder,
  ]
  await Promise.all([t.team(2, { topic, group: 'email', recorder: email }), t.team(2, { topic, group: 'push', recorder: push })])
  await broadcastTo(t, topic, first)
  await broadcastTo(t, topic, second)
  const sender = await t.connect()
  await t.fence(sender, topic, email, push, first, second)
  const orders = t.orders(t.size(500))
  await t.send(sender, topic, orders)
  await t.fence(sender, topic, email, push, first, second)
  for (const recorder of [email, push, first, second]) recorder.exactly(orders, `orders of ${recorder.name}`)
}

async function whileConnected(t: Trial): Promise<void> {
  const topic = t.topic('screens', { groups: ['keep'] })
  const [stays, leaves, returns] = [t.recorder('stays'), t.recorder('leaves'), t.recorder('returns')]
  await broadcastTo(t, topic, stays)
  const { broker, consumer } = await broadcastTo(t, topic, leaves)
  const sender = await t.connect()
  await t.fence(sender, topic, stays, leaves)
  await consumer.close()
  await broker.close()
  const missed = t.orders(50)
  await t.send(sender, topic, missed)
  await t.fence(sender, topic, stays)
  await broadcastTo(t, topic, returns)
  const later = t.orders(50)
  await t.send(sender, topic, later)
  await t.fence(sender, topic, stays, returns)
  t.equal(leaves.starts.length, 0, 'messages at an instance that had left')
  returns.exactly(later, 'orders since it returned')
  stays.exactly([...missed, ...later], 'orders of the instance that stayed')
}

async function isolated(t: Trial): Promise<void> {
  const broker = await t.connect()
  const topics = Array.from({ length: 20 }, (_, n) => t.topic(`t${n}`))
  const sent = topics.map(() => t.orders(50))
  const wrong: string[] = []
  const recorders = topics.map((topic) => t.recorder(topic.name))
  const together = topics.slice(0, 3)
  const byName = new Map(topics.map((topic, n) => [topic.name, recorders[n] as Recorder]))
  const idle = t.recorder('idle')
  await Promise.all([
    broker.consume(together, t.consumeOptions(), async (message) => {
      const own = byName.get(message.topic)
      if (own === undefined) wrong.push(`${message.id} under ${message.topic}`)
      else return own.handler()(message)
      return undefined
    }),
    ...topics.slice(3).map((topic, n) =>
      broker.consume(
        topic,
        t.consumeOptions(),
        (recorders[n + 3] as Recorder).handler((message) => {
          if (message.topic !== topic.name) wrong.push(`${message.id} under ${message.topic}, not ${topic.name}`)
        }),
      ),
    ),
    broker.consume(t.topic('idle'), t.consumeOptions(), idle.handler()),
    ...topics.map((topic, n) => t.send(broker, topic, sent[n] ?? [])),
  ])
  await t.until('all are handled', () => recorders.every(({ done }) => done >= 50), {
    withinMs: 20_000,
    seen: () => recorders.map(({ done }) => done),
  })
  for (const topic of topics) await t.settled(topic)
  for (const [n, recorder] of recorders.entries()) {
    recorder.exactly(sent[n] ?? [], `orders of ${recorder.name}`)
    t.equal(
      recorder.starts.map(({ topic }) => topic).filter((name) => name !== recorder.name),
      [],
      `messages of other topics at ${recorder.name}`,
    )
  }
  t.equal(wrong, [], 'messages under a wrong topic')
  t.equal(idle.starts.length, 0, 'messages at the consumer of an idle topic')
}

async function manyStart(t: Trial): Promise<void> {
  const topic = t.topic('many')
  const seen = t.recorder()
  const sender = await t.connect()
  const orders = t.orders(t.size(5000))
  const queue = [...orders]
  const sending = Promise.all(
    Array.from({ length: 50 }, async () => {
      for (let order = queue.shift(); order !== undefined; order = queue.shift()) {
        await t.send(sender, topic, [order])
        await t.sleep(5)
      }
    }),
  )
  await Promise.all(
    Array.from({ length: 10 }, async (_, n) => {
      await t.sleep(n * 30)
      await t.member({ topic, recorder: seen })
    }),
  )
  await sending
  await t.until('all are handled', () => seen.finished >= orders.length, { withinMs: 30_000, seen: () => seen.finished })
  await t.fence(sender, topic, seen)
  seen.exactly(orders)
}

const own: readonly Clause[] = [
  { id: 'GRP-1', title: 'One delivery per group', needs: 'memory', run: oneEach },
  { id: 'GRP-2', title: 'Work is shared', needs: 'memory', run: shared },
  { id: 'GRP-3', title: 'Every group gets everything', needs: 'memory', run: everyGroup },
  { id: 'GRP-4', title: 'The group/broadcast matrix is exact', needs: 'memory', run: matrix },
  { id: 'GRP-5', title: 'A broadcast instance gets what comes while it is connected', needs: 'memory', run: whileConnected },
  { id: 'GRP-12', title: 'Topics are isolated, and one consumer may take several', needs: 'memory', run: isolated },
  { id: 'GRP-13', title: 'Many start at once', needs: 'memory', run: manyStart },
]
const number = ({ id }: Clause): number => Number(id.slice(4))
/** The GRP clauses, in the order of the page. */
export const grp: readonly Clause[] = [...own, ...grpStart, ...grpDeclare].sort((a, b) => number(a) - number(b))
