import { expect, test } from 'vitest'
import { explain } from '../../src/memory/explain.ts'
import { consume, ids, main, never, outgoing, plan, send, source, tokens, world } from './driver.ts'

const retry = { topic: 't', role: 'retry', group: 'g' } as const
const delay = { topic: 't', role: 'delay', group: null } as const

test('a delayed message enters its topic when it is due, not before, and shorter delays come first', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['5 s'], { delayMs: 5_000 })
  await send(a, main('t'), ['1 s'], { delayMs: 1_000 })
  await send(a, main('t'), ['now'])
  expect(w.server.read(main('t')).map((message) => [message.id, message.dueAt !== null])).toEqual([
    ['now', false],
    ['1 s', true],
    ['5 s', true],
  ])
  const consumer = await consume(a, source('t', 'g'))
  await w.calm()
  const [assignment] = consumer.owned()
  expect(ids(await assignment!.read(10))).toEqual(['now'])
  const start = w.clock.now()
  const arrivals: [string | null, number][] = []
  void (async () => {
    for (;;) for (const id of ids(await assignment!.read(10))) arrivals.push([id, w.clock.now() - start])
  })()
  await w.pass(6_000)
  expect(arrivals).toEqual([
    ['1 s', 1_000],
    ['5 s', 5_000],
  ])
})

test('a step of the wall clock back keeps delayed messages that much longer', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['1'], { delayMs: 1_000 })
  w.clock.stepWall(-500)
  await w.pass(1_200)
  expect(w.server.remaining('t', 'g')).toBe(0)
  await w.pass(400)
  expect(w.server.remaining('t', 'g')).toBe(1)
})

test('delayed messages survive a killed server, and are late rather than lost', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1 })] }, never)
  await send(a, main('t'), ['1'], { delayMs: 1_000 })
  w.server.signal('SIGKILL')
  await w.pass(5_000)
  expect(w.server.read(main('t'))[0]!.dueAt).not.toBeNull()
  w.server.start()
  await w.pass(5_000)
  expect(w.server.read(main('t'))).toMatchObject([{ id: '1', dueAt: null }])
})

test('due retries come to their group alone, parked, with their partition or as an assignment of their own', async () => {
  for (const profile of ['default', 'redis', 'mqtt', 'rabbitmq'] as const) {
    const w = world({ profile })
    const a = await w.client()
    await a.session.declare({ topics: [plan('t', ['g', 'h'], { partitions: 2 })] }, never)
    const consumer = await consume(a, source('t', 'g'))
    await w.calm()
    const role = profile === 'mqtt' ? 'retry' : 'main'
    const assignment = consumer.owned().find((each) => each.role === role && each.partition === 1)!
    await send(a, retry, ['again'], { delayMs: 2_000, partition: 1 })
    let got: readonly { readonly parked: boolean; readonly token: unknown }[] = []
    const reading = assignment.read(10).then((deliveries) => (got = deliveries))
    await w.pass(1_900)
    expect(got).toEqual([])
    await w.pass(200)
    await reading
    expect(got.map((delivery) => delivery.parked)).toEqual([true])
    expect(w.server.remaining('t', 'h')).toBe(0)
    expect(await assignment.settle([got[0]!.token])).toBe('settled')
    expect(w.server.remaining('t', 'g')).toBe(0)
    expect(w.server.read(retry)).toEqual([])
  }
})

test('retries and their partition have one owner', async () => {
  const w = world({ profile: 'mqtt' })
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 4 })] }, never)
  const consumers = [await consume(a, source('t', 'g')), await consume(await w.client(), source('t', 'g'))]
  for (let turn = 0; turn < 4; turn++) {
    await w.calm()
    for (const consumer of consumers) for (const each of consumer.owned()) if (each.leaving.aborted) await each.release()
  }
  for (const consumer of consumers) {
    const of = (role: string): (number | null)[] =>
      consumer
        .owned()
        .flatMap((each) => (each.role === role ? [each.partition] : []))
        .sort()
    expect(of('main')).toHaveLength(2)
    expect(of('retry')).toEqual(of('main'))
  }
})

test("without a delay of its own the server keeps lanes: the topic's for a forwarder, the group's for its members", async () => {
  const w = world({ profile: 'kafka' })
  const a = await w.client()
  const steps = [1_000, 4_000, 16_000]
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 2, delays: steps })] }, never)
  const { failures } = await a.session.publish([outgoing(main('t'), '1', { delayMs: 5 })], never)
  expect(explain(failures[0]!.error).code).toBe('UNSUPPORTED')
  await send(a, delay, ['lane 1'], { partition: 1 })
  await send(a, retry, ['retry 2'], { partition: 2 })

  const forwarder = await consume(a, source('t', null, { kind: 'forwarder' }))
  const members = await consume(a, source('t', 'g'))
  await w.calm()
  expect(forwarder.owned().map((each) => [each.role, each.partition])).toEqual([
    ['delay', 0],
    ['delay', 1],
    ['delay', 2],
  ])
  expect(members.owned().map((each) => [each.role, each.partition])).toEqual([
    ['main', 0],
    ['main', 1],
    ['retry', 0],
    ['retry', 1],
    ['retry', 2],
  ])
  const lane = forwarder.owned()[1]!
  const moved = await lane.read(10)
  expect(ids(moved)).toEqual(['lane 1'])
  expect(moved[0]!.parked).toBe(false)
  expect(await lane.settle(tokens(moved))).toBe('settled')
  const again = await members.owned()[4]!.read(10)
  expect(ids(again)).toEqual(['retry 2'])
  expect(again[0]!.parked).toBe(true)
  expect(w.server.read(delay)).toEqual([])
})

test('lanes go on with another member when their owner dies', async () => {
  const w = world({ profile: 'kafka' })
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'], { partitions: 1, delays: [1_000] })] }, never)
  await send(a, delay, ['1', '2'], { partition: 0 })
  const one = await consume(await w.client('one'), source('t', null, { kind: 'forwarder' }))
  const two = await consume(await w.client('two'), source('t', null, { kind: 'forwarder' }))
  await w.calm()
  expect([one.owned().length, two.owned().length]).toEqual([1, 0])
  expect(ids(await one.owned()[0]!.read(1))).toEqual(['1'])
  w.server.link('one').kill()
  await w.calm()
  expect(ids(await two.owned()[0]!.read(5))).toEqual(['1', '2'])
})

test('ten thousand waiting messages take one timer', async () => {
  const w = world()
  const a = await w.client()
  await a.session.declare({ topics: [plan('t', ['g'])] }, never)
  const before = w.clock.pending()
  for (let index = 0; index < 10; index++)
    await send(
      a,
      main('t'),
      Array.from({ length: 1_000 }, (_, at) => `${at}`),
      { delayMs: 60_000 + index },
    )
  expect(w.clock.pending()).toBe(before + 1)
  await w.pass(61_000)
  expect(w.server.remaining('t', 'g')).toBe(10_000)
})
