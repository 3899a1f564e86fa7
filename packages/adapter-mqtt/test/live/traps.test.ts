// What servers and the client do to those who do not know it, each under the name it has among us.

import {
  assignment,
  content,
  idsOf,
  join,
  message,
  never,
  type Opened,
  plan,
  type Relay,
  relay,
  source,
  take,
  until,
  within,
} from '@posthorn/conformance/live'
import { connect, topic as defineTopic, unchecked } from '@posthorn/core'
import { mqtt } from '@posthorn/mqtt'
import mqttjs, { type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest'
import { type RunningBroker, startBroker } from '../../../../tools/brokers/index.mjs'
import { partitionTopic, plainTopic, sessionId } from '../../src/layout.ts'
import { settingsOf } from '../../src/options.ts'
import { checkSession } from '../../src/partition.ts'
import { forever, openWire, type Wire } from '../../src/wire.ts'
import { describeLive, logged, open, wordy } from './server.ts'

vi.setConfig({ testTimeout: 30_000 })

const clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  timer(ms: number, run: () => void) {
    const timer = setTimeout(run, ms)
    return () => clearTimeout(timer)
  },
}

describeLive('traps of MQTT, its servers and its client', () => {
  let broker: RunningBroker
  const opened: Opened[] = []
  const relays: Relay[] = []
  const wires: Wire[] = []
  const clients: MqttClient[] = []
  let topics = 0

  beforeAll(async () => {
    broker = await startBroker('mqtt', { settings: wordy })
  }, 120_000)
  afterEach(async () => {
    for (const each of wires.splice(0)) each.destroy()
    for (const each of clients.splice(0)) each.end(true)
    await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
    await Promise.all(relays.splice(0).map((each) => each.close()))
  })
  afterAll(async () => {
    await broker?.stop()
  })

  const fresh = (): string => `traps.t${++topics}`
  async function start(url = broker.url): Promise<Opened> {
    const one = await open({ url })
    opened.push(one)
    return one
  }
  async function way(): Promise<Relay> {
    const one = await relay('mqtt', broker.port)
    relays.push(one)
    return one
  }
  async function plain(options: mqttjs.IClientOptions = {}): Promise<MqttClient> {
    const client = await mqttjs.connectAsync(broker.url, { protocolVersion: 5, reconnectPeriod: 0, ...options })
    client.on('error', () => {})
    clients.push(client)
    return client
  }
  async function wire(
    url: string,
    onMessage: (packet: IPublishPacket) => boolean,
    clientId = `raw-${++topics}`,
    clean = true,
  ): Promise<Wire> {
    const one = await openWire(
      {
        settings: settingsOf({ url }),
        clock,
        clientId,
        clean,
        expirySeconds: clean ? 0 : forever,
        receiveMaximum: 64,
        acknowledge: 'later',
        onMessage,
        onEnd: () => {},
      },
      never,
    )
    wires.push(one)
    return one
  }

  async function sent(one: Opened, topic: string, ids: readonly string[]): Promise<void> {
    const { failures } = await one.session.publish(
      ids.map((id) => message(topic, id)),
      never,
    )
    expect(failures).toEqual([])
  }
  /** Waits until a member of the topic has said so many times more that it lives: twice in each `keepAliveMs`. */
  async function lives(topic: string, times: number): Promise<void> {
    const count = (): number => logged(broker, new RegExp(`Received PUBLISH .*'posthorn/member/workers/${topic}/`)).length
    const before = count()
    await until('signs of life', () => count() >= before + times)
  }
  const numbers = (count: number, from = 0): string[] => Array.from({ length: count }, (_, at) => `m${from + at}`)

  it('M1: what a handler has not finished when its process dies comes again', async () => {
    const topic = fresh()
    const first = await start()
    await first.session.declare({ topics: [plan(topic)] }, never)
    await sent(first, topic, numbers(3))
    const mine = await join(first.session, source(topic))
    expect(idsOf(await take(await assignment(mine), 3))).toEqual(numbers(3))
    await first.session.close(AbortSignal.abort())
    const second = await start()
    await second.session.declare({ topics: [plan(topic)] }, never)
    const theirs = await join(second.session, source(topic))
    expect(idsOf(await take(await assignment(theirs), 3))).toEqual(numbers(3))
  })

  it('M2: handlers run side by side though nothing is acknowledged yet, send meanwhile, and a long one keeps its partition', async () => {
    const jobs = defineTopic(fresh(), { schema: unchecked<number>(), groups: ['workers'] })
    const other = defineTopic(fresh(), { schema: unchecked<number>(), groups: ['workers'] })
    const app = await connect(mqtt({ url: broker.url, keepAliveMs: 1000 }), { log: false })
    try {
      const producer = app.producer(jobs)
      const forwarded = app.producer(other)
      await Promise.all(numbers(1000).map((_, at) => producer.send(at)))
      let done = 0
      let began = 0
      let ended = 0
      const starts = new Map<number, number>()
      await app.consume(jobs, { group: 'workers', concurrency: 256 }, async ({ value }) => {
        began ||= performance.now()
        starts.set(value, (starts.get(value) ?? 0) + 1)
        if (value === 500) {
          await forwarded.send(value)
          // Longer than a member that says nothing keeps anything.
          await lives(jobs.name, 9)
        } else await new Promise((resolve) => setTimeout(resolve, 10))
        done++
        if (done === 999) ended = performance.now()
      })
      await until('all but the long one', () => done >= 999)
      expect(ended - began).toBeLessThan(1000)
      await until('the long one', () => done >= 1000)
      expect([...starts.values()].every((count) => count === 1)).toBe(true)
    } finally {
      await app.close()
    }
  })

  it('M3: what was handed out on an earlier connection settles nothing', async () => {
    const topic = fresh()
    const path = await way()
    const one = await start(path.url)
    await one.session.declare({ topics: [plan(topic)] }, never)
    await sent(one, topic, numbers(4))
    const mine = await join(one.session, source(topic))
    const before = await assignment(mine)
    const taken = await take(before, 2)
    path.cut()
    await until('the end of the first connection', () => before.lost.aborted)
    const after = await assignment(mine)
    expect(await before.settle(taken.map(({ token }) => token))).toBe('stale')
    expect(idsOf(await take(after, 4))).toEqual(numbers(4))
  })

  it('M4: acknowledgements leave in the order in which the messages came', async () => {
    const jobs = defineTopic(fresh(), { schema: unchecked<number>(), groups: ['workers'], partitions: 1 })
    const app = await connect(mqtt({ url: broker.url, keepAliveMs: 1000 }), { log: false })
    const producer = app.producer(jobs)
    await Promise.all(numbers(200).map((_, at) => producer.send(at)))
    let done = 0
    await app.consume(jobs, { group: 'workers', concurrency: 32 }, async () => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      done++
    })
    await until('all of them', () => done === 200)
    await app.close()
    const id = sessionId(jobs.name, 'workers', 0)
    const came = logged(broker, new RegExp(`Sending PUBLISH to ${id} `)).map((line) => /, m(\d+),/.exec(line)?.[1])
    const acknowledged = logged(broker, new RegExp(`Received PUBACK from ${id} `)).map((line) => /Mid: (\d+)/.exec(line)?.[1])
    // A session that was made looks at what is there already; the acknowledgements follow the order of the owner's connection.
    expect(acknowledged).toEqual(came.slice(-acknowledged.length))
    expect(acknowledged).toHaveLength(200)
  })

  it('M5, M7: a failing handler sends no reason but success, and nothing travels twice acknowledged (QoS 2)', async () => {
    const jobs = defineTopic(fresh(), { schema: unchecked<number>(), groups: ['workers'], partitions: 1 })
    const app = await connect(mqtt({ url: broker.url, keepAliveMs: 1000 }), { log: false })
    await Promise.all([1, 2, 3].map((each) => app.producer(jobs).send(each)))
    let failures = 0
    await app.consume(jobs, { group: 'workers', retry: { attempts: 2, firstDelayMs: 10 } }, () => {
      failures++
      throw new Error('no')
    })
    await until('the dead letters', async () => {
      let count = 0
      for await (const _ of app.deadLetters(jobs, 'workers').list()) count++
      return count === 3
    })
    await app.close()
    expect(failures).toBe(6)
    expect(logged(broker, /Received PUBACK/).filter((line) => !/RC:0\)/.test(line))).toEqual([])
    expect(logged(broker, /PUBREC|PUBREL|PUBCOMP/)).toEqual([])
  })

  it('M6: nothing comes again while its connection lives', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    await sent(one, topic, numbers(2))
    const mine = await join(one.session, source(topic))
    const held = await assignment(mine)
    await take(held, 2)
    const next = held.read(10)
    await lives(topic, 7)
    await sent(one, topic, ['fence'])
    expect(idsOf(await next)).toEqual(['fence'])
  })

  it('M8, M9: more publishes than there are packet ids all end, and never more are open than the server takes', async () => {
    const small = await startBroker('mqtt', { settings: ['max_inflight_messages 20'] })
    try {
      const one = await wire(small.url, () => true)
      let most = 0
      let refused = 0
      for (let nth = 0; nth < 40; nth++) if (one.begin(() => {}) === 0) refused++
      most = one.pending
      expect([most, refused]).toEqual([20, 20])
    } finally {
      await small.stop()
    }
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    let stored = 0
    for (let nth = 0; nth < 35; nth++) {
      const reports = await Promise.all(
        [0, 1, 2, 3].map((part) =>
          one.session.publish(
            numbers(500, (nth * 4 + part) * 500).map((id) => message(topic, id)),
            never,
          ),
        ),
      )
      for (const { failures } of reports) stored += 500 - failures.length
    }
    expect(stored).toBe(70_000)
  })

  it('M10, M24: what was under way when a connection was lost is unknown, and nobody sends it again', async () => {
    const topic = fresh()
    const path = await way()
    const one = await start(path.url)
    await one.session.declare({ topics: [plan(topic)] }, never)
    path.dropAnswers = true
    const publishing = one.session.publish(
      numbers(100).map((id) => message(topic, id)),
      never,
    )
    await until(
      'the server to have them',
      () => logged(broker, new RegExp(`Received PUBLISH .*'${partitionTopic(topic, 0)}'`)).length >= 100,
    )
    path.dropAnswers = false
    path.cut()
    const { failures } = await within(10_000, 'the outcome', publishing)
    expect(failures).toHaveLength(100)
    expect(new Set(failures.map(({ outcome }) => outcome))).toEqual(new Set(['unknown']))
    await until('the connection to be back', () => one.states.at(-1) === 'connected')
    await sent(one, topic, ['fence'])
    expect(logged(broker, new RegExp(`Received PUBLISH .*'${partitionTopic(topic, 0)}'`))).toHaveLength(101)
    expect(Object.keys((one.session.client as MqttClient).outgoing)).toEqual([])
  })

  it('M11, M13: a server that is as it comes is named with the settings that lose, and what it dropped is told', async () => {
    const stock = await startBroker('mqtt', { profile: 'stock', settings: ['sys_interval 1', 'max_queued_messages 100'] })
    try {
      const one = await start(stock.url)
      await until('the warning', () => one.events.filter(({ name }) => name === 'not-durable').length >= 2)
      const notes = one.events.map(({ detail }) => detail.note ?? '').join('\n')
      expect(notes).toMatch(/autosave_interval/)
      expect(notes).toMatch(/max_queued_messages 1000000000/)
      const topic = fresh()
      await one.session.declare({ topics: [plan(topic)] }, never)
      await sent(one, topic, numbers(400))
      const dropped = await until('what was dropped', () => one.events.find(({ name }) => name === 'broker-dropped'))
      expect(dropped.detail.count).toBeGreaterThan(100)
    } finally {
      await Promise.all(opened.splice(0).map(({ session }) => session.close(AbortSignal.abort())))
      await stock.stop()
    }
  })

  it('M12: a server that sends more than it was asked for does not fill our memory', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    for (let nth = 0; nth < 10; nth++) await sent(one, topic, numbers(500, nth * 500))
    let came = 0
    let open: Wire | null = null
    const ids: number[] = []
    open = await wire(
      broker.url,
      (packet) => {
        came++
        ids.push(packet.messageId ?? 0)
        return came < 100
      },
      sessionId(topic, 'workers', 0),
      false,
    )
    await until('the first', () => came >= 64)
    // Each acknowledgement lets the server send a whole window more.
    open.acknowledge(ids.slice(0, 40))
    await until('the bound', () => came >= 100)
    const sending = new RegExp(`Sending PUBLISH to ${sessionId(topic, 'workers', 0)} `)
    await until('the server to have sent more than that', () => logged(broker, sending).length > 100)
    // What it sent before it answers here has come.
    await sent(one, topic, ['fence'])
    expect(came).toBe(100)
    open.resume()
    await until('the next', () => came === 101)
  })

  it('M14, M16, M17, M20, M27: a dead member of 40 in hand and 60 queued is followed in order, without shares, with acknowledged sessions', async () => {
    const topic = fresh()
    const first = await start()
    await first.session.declare({ topics: [plan(topic)] }, never)
    const mine = await join(first.session, source(topic, { maxUnsettled: 40 }))
    const held = await assignment(mine)
    await sent(first, topic, numbers(100))
    await take(held, 40)
    await first.session.close(AbortSignal.abort())
    const second = await start()
    await second.session.declare({ topics: [plan(topic)] }, never)
    const theirs = await join(second.session, source(topic))
    expect(idsOf(await take(await assignment(theirs), 100))).toEqual(numbers(100))
    const id = sessionId(topic, 'workers', 0)
    const subscriptions = logged(broker, new RegExp(`: ${id} \\d `))
    expect(subscriptions.length).toBeGreaterThan(0)
    expect(subscriptions.every((line) => line.includes(`${id} 1 `))).toBe(true)
    expect(logged(broker, /\$share|\$queue|\$delayed/)).toEqual([])
  })

  it('M15: a server that forgets sessions sooner than it is told is refused', () => {
    const forgetful = { grantedSeconds: 3600 } as Wire
    expect(() => checkSession(forgetful)).toThrow(/3600 s/)
    expect(() => checkSession({ grantedSeconds: null } as Wire)).not.toThrow()
    expect(() => checkSession({ grantedSeconds: forever } as Wire)).not.toThrow()
  })

  it('M19, M29: whoever takes a session away gets it, and its owner waits, looks and comes back once', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    const mine = await join(one.session, source(topic))
    const before = await assignment(mine)
    const id = sessionId(topic, 'workers', 0)
    const count = (): number => logged(broker, new RegExp(`New client connected from \\S+ as ${id} `)).length
    const made = count()
    const stranger = await plain({ clientId: id, clean: false, properties: { sessionExpiryInterval: forever } })
    await until('the owner to notice', () => before.lost.aborted)
    await assignment(mine)
    await until('the stranger to be sent away', () => !stranger.connected)
    await lives(topic, 5)
    expect(count() - made).toBe(2)
    expect(one.events.some(({ name }) => name === 'lease-lost')).toBe(true)
  })

  it('M21: a foreign subscription of a session fills no window: what it brings is set aside', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    const id = sessionId(topic, 'workers', 0)
    const meddler = await plain({ clientId: id, clean: false, properties: { sessionExpiryInterval: forever } })
    await meddler.subscribeAsync('somewhere/else', { qos: 1 })
    await meddler.endAsync()
    await (await plain()).publishAsync('somewhere/else', 'stray', { qos: 1 })
    await sent(one, topic, ['ours'])
    const [stray, ours] = await take(await assignment(await join(one.session, source(topic))), 2)
    expect(stray?.content).toMatchObject({ undecodable: expect.stringContaining('somewhere/else') })
    expect(idsOf([ours as NonNullable<typeof ours>])).toEqual(['ours'])
  })

  it('M22, M23: one message after the other is stored without waiting for anything but the server', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    const times: number[] = []
    for (const id of numbers(200)) {
      const began = performance.now()
      await sent(one, topic, [id])
      times.push(performance.now() - began)
    }
    expect(times.sort((a, b) => a - b)[100]).toBeLessThan(10)
  })

  it('M25: what no group takes is failed, not stored', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic, { groups: [] })] }, never)
    const { failures } = await one.session.publish([message(topic, 'nobody')], never)
    expect(failures).toMatchObject([{ index: 0, outcome: 'failed' }])
    expect(one.adapter.explain(failures[0]?.error)).toMatchObject({ code: 'NOT_FOUND', outcome: 'failed' })
  })

  it('M28: what a device publishes on the plain topic comes once, acknowledged or not, retained or not', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic)] }, never)
    const held = await assignment(await join(one.session, source(topic)))
    const device = await plain()
    await device.publishAsync(plainTopic(topic), 'zero', { qos: 0 })
    await device.publishAsync(plainTopic(topic), 'one', { qos: 1 })
    await device.publishAsync(plainTopic(topic), 'two', { qos: 2 })
    await device.publishAsync(plainTopic(topic), 'kept', { qos: 1, retain: true })
    await sent(one, topic, ['fence'])
    const bodies = (await take(held, 5)).map((each) => Buffer.from(content(each).body ?? []).toString())
    expect(bodies).toEqual(['zero', 'one', 'two', 'kept', 'fence'])
  })

  it('M30: declaring under load takes no session away', async () => {
    const topic = fresh()
    const one = await start()
    await one.session.declare({ topics: [plan(topic, { partitions: 4 })] }, never)
    const mine = await join(one.session, source(topic))
    await until('all partitions', () => mine.all.filter(({ role }) => role === 'main').length === 4)
    const count = (): number => logged(broker, new RegExp(`New client connected from \\S+ as ph!workers!${topic}!`)).length
    const made = count()
    const others = await Promise.all([start(), start()])
    for (let nth = 0; nth < 10; nth++)
      await Promise.all(others.map(({ session }) => session.declare({ topics: [plan(topic, { partitions: 4 })] }, never)))
    expect(count()).toBe(made)
    expect(mine.all.some(({ lost }) => lost.aborted)).toBe(false)
  })
})
