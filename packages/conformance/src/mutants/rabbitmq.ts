import type { Mutant } from './mutant.ts'

/** Bugs of the RabbitMQ adapter, planted in it and noticed on a real server. */
export const rabbitmq: readonly Mutant[] = [
  {
    id: 'MUT-15',
    where: 'rabbitmq',
    file: 'unconfirmed.ts',
    find: 'if (!upTo) take(last, each)',
    replace: 'if (!upTo) take(head, each)',
    killedBy: [],
    killedByTest: { file: 'test/unconfirmed.test.ts', name: 'R25' },
    what: 'confirms resolve in order of sending, whatever the tag',
  },
  {
    id: 'MUT-17',
    where: 'rabbitmq',
    file: 'publish.ts',
    find: 'const wire = await link.ready(signal)',
    replace: `const waits = link.wire === null
    const wire = await link.ready(signal)
    if (waits) throw fault('CANCELLED', 'it waited for the connection', 'failed')`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'PUB-18' },
    what: 'send queue dropped on reconnect',
  },
  {
    id: 'MUT-18',
    where: 'rabbitmq',
    file: 'outlet.ts',
    find: 'for (const sent of unconfirmed.drain()) lost(sent, ended)',
    replace: 'unconfirmed.drain()',
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'PUB-9' },
    what: 'lost reply leaves the promise open',
  },
  {
    id: 'MUT-19',
    where: 'rabbitmq',
    file: 'publish.ts',
    find: 'return await report.result',
    replace: `const first = await report.result
      const lost = first.failures.filter(({ outcome }) => outcome === 'unknown').map(({ index }) => batch[index] as Outgoing)
      if (lost.length === 0 || signal.aborted) return first
      return await publish(
        lost.map((message) => ({ ...message, id: \`\${message.id}-again\` })),
        signal,
      )`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'PUB-17' },
    what: 'client repeats a send by itself with a new id',
  },
  {
    id: 'MUT-26',
    where: 'rabbitmq',
    file: 'assignment.ts',
    find: 'if (tag >= lowest) ack(channel, tag, false)',
    replace: 'if (tag >= lowest) ack(channel, tag, true)',
    killedBy: ['ACK-5'],
    what: 'settles everything up to the finished one',
  },
  {
    id: 'MUT-39',
    where: 'rabbitmq',
    file: 'encode.ts',
    find: 'to.octet(persistent)',
    replace: "to.octet(message.place.role === 'main' ? persistent : 1)",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'R27' },
    what: 'copies are transient',
  },
  {
    id: 'MUT-45',
    where: 'rabbitmq',
    file: 'topology.ts',
    find: 'const stepMs = topics.get(place.topic)?.plan.delays[step]',
    replace: 'const stepMs = topics.get(place.topic)?.plan.delays[2]',
    also: [{ file: 'topology.ts', find: 'if (step === 0 || stepMs === undefined)', replace: 'if (stepMs === undefined)' }],
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'R7' },
    what: 'one first-in-first-out queue for all waits',
  },
  {
    id: 'MUT-46',
    where: 'rabbitmq',
    file: 'assignment.ts',
    find: 'this.#hold(tag, decode(message, this.keyed), deliveriesOf(message))',
    replace: `const content = decode(message, this.keyed)
    if (!message.fields.redelivered || 'undecodable' in content) return this.#hold(tag, content, deliveriesOf(message))
    this.#arrives()
    const again = { ...content, transport: { ...content.transport, 'ph-attempt': '2' } }
    this.#buffer.push(new Held(this, tag, again, true, deliveriesOf(message)))
    this.begin()`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'R16' },
    what: 'attempt taken from the redelivered flag',
  },
  {
    id: 'MUT-51',
    where: 'rabbitmq',
    file: 'layout.ts',
    find: "'x-dead-letter-strategy': 'at-least-once'",
    replace: "'x-dead-letter-strategy': 'at-most-once'",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'R14' },
    what: 'lane or delay store settled before the copy is confirmed',
  },
  {
    id: 'MUT-54',
    where: 'rabbitmq',
    file: 'assignment.ts',
    find: "this.#buffer.push(new Held(this, tag, content, this.role === 'retry', deliveries))",
    replace: `this.#buffer.push(new Held(this, tag, content, this.role === 'retry', deliveries))
    this.#host.context.clock.timer(500, () => {
      if (this.#waiting === null) void this.release()
    })`,
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'FLOW-4' },
    what: 'pause leaves the group',
  },
  {
    id: 'MUT-64',
    where: 'rabbitmq',
    file: 'session.ts',
    find: "if (opened && !closed) context.report('recovering', error)",
    replace: "if (opened && !closed && purpose === 'publish') context.report('recovering', error)",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'LIFE-14' },
    what: `status stays \`connected\` while the consumer is dead`,
  },
  {
    id: 'MUT-66',
    where: 'rabbitmq',
    file: 'queue-reader.ts',
    find: 'await answered(wire, clock, mine.prefetch(source.maxUnsettled))',
    replace: `firstWire ??= wire
        if (wire === firstWire) await answered(wire, clock, mine.prefetch(source.maxUnsettled))`,
    also: [
      {
        file: 'queue-reader.ts',
        find: 'const shortestPauseMs = 500',
        replace: `let firstWire: unknown
const shortestPauseMs = 500`,
      },
    ],
    killedBy: [],
    killedByTest: { file: 'test/live/consume.test.ts', name: 'R20' },
    what: `\`maxUnsettled\` not applied again after a reconnect`,
  },
  {
    id: 'MUT-68',
    where: 'rabbitmq',
    file: 'queue-reader.ts',
    find: 'if (message !== null) return assignment.receive(message)',
    replace: `if (message === null) return undefined
            if (message !== null) return assignment.receive(message)`,
    killedBy: ['NET-12'],
    what: 'cancel from the broker ignored',
  },
  {
    id: 'MUT-69',
    where: 'rabbitmq',
    file: 'connections.ts',
    find: 'reconnectDelay(Math.min(tries, 3), context.random)',
    replace: 'reconnectDelay(Math.min(tries, 3), context.random) * 0 + 5',
    killedBy: ['NET-14'],
    what: 'reconnects without pause',
  },
  {
    id: 'MUT-94',
    where: 'rabbitmq',
    file: 'ownership.ts',
    find: 'staying.slice(most)',
    replace: 'staying.slice(queues.length)',
    killedBy: [],
    killedByTest: { file: 'test/live/consume.test.ts', name: 'R33' },
    what: 'the first member keeps every partition',
  },
  {
    id: 'MUT-128',
    where: 'rabbitmq',
    file: 'layout.ts',
    find: "'x-delivery-limit': 1_000_000",
    replace: "'x-delivery-limit': -1",
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'RMQ-10' },
    what: `\`x-delivery-limit: -1\``,
  },
  {
    id: 'MUT-129',
    where: 'rabbitmq',
    file: 'assignment.ts',
    find: `this.#leaving.abort()
    this.#wakeEmpty()`,
    replace: `this.#leaving.abort()
    this.#channel?.cancel('posthorn').catch(() => {})
    this.#wakeEmpty()`,
    also: [
      {
        file: 'queue-reader.ts',
        find: 'exclusive: options.exclusive,',
        replace: `exclusive: options.exclusive,
            consumerTag: 'posthorn',`,
      },
    ],
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'RMQ-12' },
    what: 'drains by cancelling the consumer',
  },
  {
    id: 'MUT-130',
    where: 'rabbitmq',
    file: 'topology.ts',
    find: '{ durable: true, alternateExchange: foreign }',
    replace: '{ durable: true }',
    killedBy: [],
    killedByTest: { file: 'test/live/traps.test.ts', name: 'RMQ-13' },
    what: 'no alternate exchange',
  },
  {
    id: 'MUT-136',
    where: 'rabbitmq',
    file: 'topology.ts',
    find: 'const make = plan.create && native.declare !== false',
    replace: 'const make = plan.create',
    killedBy: ['INT-10'],
    what: `queue declared although \`declare: false\``,
  },
]
