import { type Broker, deadLetter, topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { type MemoryServer, memory, memoryServer } from '@posthorn/core/testing'
import { run, type Surroundings } from 'posthorn'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { realClock } from '../src/clock.ts'
import { terminal } from './terminal.ts'

const orders = topic('orders', { schema: unchecked<unknown>(), key: () => 'k', groups: ['email'] })
const runtime = { clock: realClock, random: Math.random }
let server: MemoryServer
let broker: Broker
beforeEach(async () => {
  server = memoryServer()
  broker = await connectWith(runtime, memory({ server }), { log: false })
})
afterEach(() => broker.close())

/** Sends one message for each reason, whose handler sets it aside for that reason; the consumer is gone then. */
async function setAside(...reasons: readonly string[]): Promise<void> {
  const consumer = await broker.consume(orders, { group: 'email' }, ({ value }) => deadLetter(String(value)))
  await broker.producer(orders).sendBatch(reasons.map((value, n) => ({ value, id: `m${n}` })))
  await expect.poll(() => server.read({ topic: 'orders', role: 'dead', group: 'email' }).length).toBe(reasons.length)
  await consumer.close()
}
interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}
async function ran(line: string, given: Partial<Surroundings> & { readonly columns?: number } = {}): Promise<Ran> {
  const connect = (): Promise<Broker> => connectWith({ ...runtime, looksOnly: true }, memory({ server }), { log: false })
  const made = terminal({ connect, ...given })
  const code = await run(`dlq ${line} --topic orders --group email`.split(' '), made.io)
  return { code, stdout: made.stdout, stderr: made.stderr }
}
const left = (): number => server.read({ topic: 'orders', role: 'dead', group: 'email' }).length

test('list shows a table, and how many there are', async () => {
  await setAside('bad-address', 'no-stock')
  const { code, stdout, stderr } = await ran('list')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '2 dead letters\n' })
  const [head, first, second, ...rest] = stdout.split('\n')
  expect(head).toMatch(/^LAST FAILED {11}ID {2}KEY {2}TYPE {4}REASON {7}ATTEMPTS {2}BYTES {2}ERROR$/)
  expect(first).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}m0 {2}k {4}orders {2}bad-address {2}1 {9}13/)
  expect(second).toMatch(/ m1 .* no-stock /)
  expect(rest).toEqual([''])
})

test('list of nothing says so, and a group that nobody knows is an error', async () => {
  await broker.declare(orders)
  expect(await ran('list')).toEqual({ code: 0, stdout: '', stderr: 'none among the dead letters of "orders" for group "email"\n' })
  expect(await ran('list --json')).toEqual({ code: 0, stdout: '', stderr: '' })
  const made = terminal({ connect: () => connectWith({ ...runtime, looksOnly: true }, memory({ server }), { log: false }) })
  expect(await run(['dlq', 'list', '--topic', 'orders', '--group', 'emial'], made.io)).toBe(1)
  expect(made.stderr).toBe(
    'NOT_FOUND  cannot run "posthorn dlq list": on memory the topic "orders" has no group "emial". check --group, and --broker\n',
  )
})

test('a topic that nobody knows is an error, and is not made', async () => {
  const { code, stderr } = await ran('list')
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: 'NOT_FOUND  cannot run "posthorn dlq list": there is no topic "orders" on memory. check --topic, and --broker\n',
  })
  await expect(broker.lag(orders, 'email')).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('what strangers wrote does nothing to the terminal', async () => {
  await setAside('\u001b[2Jgone\u202e\nsecond line')
  const list = await ran('list')
  expect(list.stdout).toContain('\\u001b[2Jgone\\u202e\\nsecond line')
  const show = await ran('show --id m0')
  expect(show.code).toBe(0)
  for (const text of [list.stdout, show.stdout, (await ran('list --json')).stdout]) expect(text).not.toMatch(/[\u001b\u202e]/)
})

test('show tells everything, and which ids there are not', async () => {
  await setAside('bad', 'worse')
  const { code, stdout } = await ran('show --id m1')
  expect(code).toBe(0)
  expect(stdout).toMatch(/^id {12}m1\ntopic {9}orders\ngroup {9}email\nkey {11}k\n/)
  expect(stdout).toMatch(/\nreason {8}worse\nattempts {6}1\n/)
  expect(stdout).toMatch(/\nbody {10}7 bytes\n\n"worse"\n$/)
  const missing = await ran('show --id m0 --id m7')
  expect(missing.code).toBe(1)
  expect(missing.stderr).toBe('NOT_FOUND  cannot show "m7": not among the dead letters of "orders" for group "email"\n')
  expect(missing.stdout).toContain('reason        bad')
})

test('replay hands over what was chosen, and says what is left', async () => {
  await setAside('a', 'b', 'a')
  const handled: string[] = []
  await broker.consume(orders, { group: 'email' }, ({ id }) => void handled.push(id))
  expect(await ran('replay --reason a')).toEqual({
    code: 0,
    stdout: 'replayed 2 of the dead letters of "orders" for group "email"; 1 is left\n',
    stderr: '',
  })
  await expect.poll(() => handled.toSorted()).toEqual(['m0', 'm2'])
  expect(await ran('replay --id m1 --id m9 --json')).toEqual({
    code: 1,
    stdout: '{"replayed":1,"left":0}\n',
    stderr: 'not among the dead letters of "orders" for group "email": "m9"\n',
  })
})

test('a replay that is interrupted says how many were moved, and the rest stays', async () => {
  await setAside(...Array.from({ length: 8 }, () => 'a'))
  const interrupt = new AbortController()
  const handled: string[] = []
  await broker.consume(orders, { group: 'email' }, ({ id }) => {
    if (handled.push(id) === 2) interrupt.abort()
  })
  const { code, stdout, stderr } = await ran('replay --all --rate 4 --json', { interrupted: interrupt.signal })
  expect(code).toBe(1)
  const { replayed } = JSON.parse(stdout) as { readonly replayed: number }
  expect(replayed).toBeGreaterThanOrEqual(2)
  expect(left()).toBe(8 - replayed)
  expect(stderr).toBe(
    `interrupted: replayed ${replayed} of the dead letters of "orders" for group "email"; the others are where they were\n`,
  )
})

test('a replay for a group that nobody is in is refused', async () => {
  await broker.declare(orders)
  const made = terminal({ connect: () => connectWith({ ...runtime, looksOnly: true }, memory({ server }), { log: false }) })
  expect(await run(['dlq', 'replay', '--all', '--topic', 'orders', '--group', 'nobody'], made.io)).toBe(1)
  expect(made.stderr).toContain('has no group "nobody"')
})

test('purge of all asks, and removes only when it is told to', async () => {
  await setAside('a', 'b')
  const questions: string[] = []
  const answering =
    (answer: string): Surroundings['ask'] =>
    async (question) => {
      questions.push(question)
      return answer
    }
  for (const answer of ['', 'n', 'yes please'])
    expect(await ran('purge --all', { ask: answering(answer) })).toEqual({ code: 1, stdout: '', stderr: 'nothing was removed\n' })
  expect(left()).toBe(2)
  expect(await ran('purge --all', { ask: answering('y') })).toMatchObject({
    code: 0,
    stdout: 'purged 2 of the dead letters of "orders" for group "email"\n',
  })
  expect(left()).toBe(0)
  expect(new Set(questions)).toEqual(new Set(['remove all of the dead letters of "orders" for group "email" on memory, for good? [y/N] ']))
})

test('purge removes what was chosen without a question, by age too', async () => {
  await setAside('a', 'b', 'c')
  expect(await ran('purge --reason b --json')).toEqual({ code: 0, stdout: '{"purged":1}\n', stderr: '' })
  expect(await ran('purge --before 1h --json', { now: Date.now })).toMatchObject({ code: 0, stdout: '{"purged":0}\n' })
  expect(await ran('purge --after 1h --json', { now: Date.now })).toMatchObject({ code: 0, stdout: '{"purged":2}\n' })
  expect(left()).toBe(0)
})

test('--native is what the topic says there: options of other adapters pass, unknown ones of this are refused', async () => {
  await setAside('a')
  expect(await ran('list --json --native {"kafka":{"topic":"Orders"}}')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('"id":"m0"'),
  })
  const { code, stderr } = await ran('list --native {"memory":{"topic":"Orders"}}')
  expect(code).toBe(2)
  expect(stderr).toMatch(/^INVALID_ARGUMENT {2}.*topic/)
})
