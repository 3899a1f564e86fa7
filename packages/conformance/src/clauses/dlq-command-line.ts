// DLQ-10: the command line beside the API, while consumers run.

import { type Broker, type DeadLetter, deadLetter } from '@posthorn/core'
import type { CommandLineResult } from '../abilities.ts'
import type { Order, OrderTopic } from '../orders.ts'
import type { Trial } from '../trial.ts'
import { foreign, lettersWhen } from './stored.ts'
import { deadIds, deadLettersOf, failing } from './support.ts'

type Run = (verb: string, args: readonly string[], interrupt?: AbortSignal) => Promise<CommandLineResult>

const idsOf = (list: readonly { readonly id: string }[]): readonly string[] => list.map(({ id }) => id)
const sorted = (ids: readonly string[]): readonly string[] => [...ids].sort()
const binary = Uint8Array.of(0, 255, 128, 10)

/** DLQ-10 */
export async function commandLineSaysTheSame(t: Trial): Promise<void> {
  const { commandLine } = t.abilities
  if (commandLine === undefined) t.notProven('this harness has no command line; a process of its own reaches no embedded broker')
  const topic = t.topic('jobs', {
    groups: ['workers', 'others'],
    with: { type: (order: Order) => (order.seq % 2 === 0 ? 'even' : 'odd') },
  })
  const run: Run = (verb, args, interrupt) =>
    commandLine(['dlq', verb, '--topic', topic.name, '--group', 'workers', ...args], {
      address: t.server.address,
      connect: () => t.connect({ looksOnly: true }),
      interrupt,
    })
  const [sender, broker] = [await t.connect(), await t.connect()]
  const [failed, refused, unwanted] = [t.orders(12, { keys: 4 }), t.orders(8, { keys: 4 }), t.orders(6, { keys: 4 })]
  const planned = new Map([...failed, ...refused, ...unwanted].map((order) => [order.id, order]))
  const [dead, calm, others] = [t.recorder('workers'), t.recorder('workers, meanwhile'), t.recorder('others')]
  let healthy = false
  const attempts: number[] = []
  const onDead = dead.handler<Order>((message) => {
    if (healthy) return void attempts.push(message.attempt)
    if (refused.some(({ id }) => id === message.id)) return deadLetter('refused')
    if (unwanted.some(({ id }) => id === message.id)) return deadLetter('not-wanted')
    return failing()
  })
  const onCalm = calm.handler<Order>()
  await broker.consume(topic, t.consumeOptions({ retry: false }), (message) =>
    planned.has(message.id) ? onDead(message) : onCalm(message),
  )
  await broker.consume(topic, t.consumeOptions({ group: 'others' }), others.handler())
  await t.send(sender, topic, [...planned.values()])
  await writeBinary(t, topic)
  await lettersWhen(t, sender, topic, planned.size + 1)
  await lettersWhen(t, sender, topic, 1, 'others')
  await t.until('the others are done', () => others.finished === planned.size)
  healthy = true
  dead.reset()
  const load = t.load(sender, topic, { everyMs: 50 })

  await shows(t, sender, topic, run)
  await refuses(t, sender, topic, run, commandLine)
  await purges(t, sender, topic, run, unwanted)
  const [first, second] = failed as [Order, Order]
  await replays(t, sender, topic, run, [first, second], dead)

  const stored = await load.stop()
  const replayed = [...failed, ...refused]
  await t.until('all are done', () => dead.finished === replayed.length && calm.finished === stored.length, {
    withinMs: 30_000,
    seen: () => ({ dead: dead.finished, calm: calm.finished, of: [replayed.length, stored.length] }),
  })
  await t.settled(topic)
  await t.fence(sender, topic, calm, others)
  dead.exactly(replayed)
  calm.exactly(stored)
  others.exactly([...planned.values(), ...stored])
  t.equal(
    attempts,
    replayed.map(() => 1),
    'attempts of what was replayed',
  )
  t.equal(await deadIds(sender, topic, 'others'), ['binary'], 'dead letters of the other group after all this')
}

/** What no codec of the topic decodes, and no text shows. */
async function writeBinary(t: Trial, topic: OrderTopic): Promise<void> {
  const attributes = { specversion: '1.0', source: 'elsewhere', type: 'thing', datacontenttype: 'application/json' }
  await t.auditor.write(
    topic.name,
    foreign(t, { id: 'binary', key: 'key', body: binary, headers: { 'x-shop': 'north' }, attributes, partition: 0 }),
  )
}

function ended(t: Trial, what: string, result: CommandLineResult, code: number): CommandLineResult {
  t.ok(result.code === code, `${what} ends with ${code}, not ${result.code}: ${result.stderr.trim()}`)
  t.ok(!/^ {4}at /m.test(result.stderr), `${what} shows no stack: ${result.stderr}`)
  return result
}

const parsed = ({ stdout }: CommandLineResult): readonly Readonly<Record<string, unknown>>[] =>
  stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)

/** A dead letter of the API as the page of the command line says that it is written. */
function written(letter: DeadLetter): Readonly<Record<string, unknown>> {
  const { id, topic, group, type, reason, attempts, headers, bytes, time, firstFailedAt, lastFailedAt } = letter
  const text = id !== 'binary'
  return {
    id,
    topic,
    group,
    key: letter.key ?? null,
    type,
    source: letter.source ?? null,
    time: time?.toISOString() ?? null,
    reason,
    attempts,
    error: letter.error ?? null,
    firstFailedAt: firstFailedAt.toISOString(),
    lastFailedAt: lastFailedAt.toISOString(),
    position: letter.position ?? null,
    headers: { ...headers },
    body: Buffer.from(bytes).toString(text ? 'utf8' : 'base64'),
    encoding: text ? 'text' : 'base64',
    bytes: bytes.length,
  }
}

async function shows(t: Trial, broker: Broker, topic: OrderTopic, run: Run): Promise<void> {
  const letters = await deadLettersOf(broker, topic)
  const json = async (verb: string, ...args: readonly string[]): Promise<readonly unknown[]> =>
    parsed(ended(t, `${verb} ${args.join(' ')}`, await run(verb, ['--json', ...args]), 0))
  t.equal(await json('list'), letters.map(written), 'the list, beside that of the API')
  const middle = (letters[Math.floor(letters.length / 2)] as DeadLetter).lastFailedAt
  const at = middle.toISOString()
  const filters: readonly (readonly [readonly string[], readonly DeadLetter[]])[] = [
    [['--limit', '5'], letters.slice(0, 5)],
    [['--reason', 'refused'], letters.filter(({ reason }) => reason === 'refused')],
    [['--reason', 'refused', '--reason', 'failed', '--type', 'odd'], letters.filter(isOddOf('refused', 'failed'))],
    [['--before', at], letters.filter(({ lastFailedAt }) => lastFailedAt < middle)],
    [['--after', at, '--limit', '2'], letters.filter(({ lastFailedAt }) => lastFailedAt >= middle).slice(0, 2)],
  ]
  for (const [args, expected] of filters) t.equal(await json('list', ...args), expected.map(written), `list ${args.join(' ')}`)
  for (const letter of [letters[0] as DeadLetter, letters.find(({ id }) => id === 'binary') as DeadLetter]) {
    t.equal(await json('show', '--id', letter.id), [written(letter)], `show ${letter.id}`)
    const { stdout } = ended(t, 'show', await run('show', ['--id', letter.id]), 0)
    for (const part of [letter.id, letter.reason, String(written(letter)['body'])])
      t.ok(stdout.includes(part), `show ${letter.id} for people holds ${part}: ${stdout}`)
  }
  const { stdout } = ended(t, 'list', await run('list', []), 0)
  for (const { id } of letters) t.ok(stdout.includes(id), `the list for people holds ${id}`, [id])
  t.equal(idsOf(await deadLettersOf(broker, topic)), idsOf(letters), 'dead letters after they were shown')
}

const isOddOf =
  (...reasons: readonly string[]) =>
  ({ reason, type }: DeadLetter): boolean =>
    type === 'odd' && reasons.includes(reason)

async function refuses(
  t: Trial,
  broker: Broker,
  topic: OrderTopic,
  run: Run,
  commandLine: NonNullable<Trial['abilities']['commandLine']>,
): Promise<void> {
  const before = await deadIds(broker, topic)
  const wrong: readonly (readonly [verb: string, args: readonly string[], code: number, naming: string])[] = [
    ['replay', [], 2, '--all'],
    ['purge', [], 2, '--all'],
    ['replay', ['--all', '--id', 'a'], 2, '--id'],
    ['purge', ['--yes', '--all', '--reason', 'failed'], 2, '--reason'],
    ['purge', ['--all'], 2, '--yes'],
    ['purge', ['--al', '--yes'], 2, '--all'],
    ['list', ['--before', 'yesterday'], 2, '--before'],
    ['show', ['--id', 'nobody'], 1, 'nobody'],
  ]
  for (const [verb, args, code, naming] of wrong) {
    const { stdout, stderr } = ended(t, `${verb} ${args.join(' ')}`, await run(verb, args), code)
    t.equal(stdout, '', `what ${verb} ${args.join(' ')} gives`)
    t.ok(stderr.includes(naming), `the refusal of ${verb} ${args.join(' ')} names ${naming}: ${stderr}`)
  }
  // A name that is misspelt is found nowhere, and made nowhere.
  const elsewhere = t.name('jbos')
  const on = { address: t.server.address, connect: () => t.connect({ looksOnly: true }) }
  for (const [name, group] of [
    [elsewhere, 'workers'],
    [topic.name, 'wrokers'],
  ] as const) {
    for (const args of [
      ['list', '--reason', 'failed'],
      ['replay', '--all'],
      ['purge', '--reason', 'failed'],
    ]) {
      const what = `${args[0]} of ${name} for ${group}`
      const { stderr } = ended(t, what, await commandLine(['dlq', ...args, '--topic', name, '--group', group], on), 1)
      t.ok(/NOT_FOUND/.test(stderr) && stderr.includes(name), `${what} says what there is not: ${stderr}`)
    }
  }
  t.equal(await t.auditor.exists(elsewhere), false, 'a misspelt topic was made')
  t.equal(await deadIds(broker, topic), before, 'dead letters after all that was refused')
}

async function purges(t: Trial, broker: Broker, topic: OrderTopic, run: Run, unwanted: readonly Order[]): Promise<void> {
  const before = await deadIds(broker, topic)
  const byReason = ended(t, 'purge by reason', await run('purge', ['--reason', 'not-wanted', '--json']), 0)
  t.equal(parsed(byReason), [{ purged: unwanted.length }], 'what a purge by reason gives')
  const byId = ended(t, 'purge by id', await run('purge', ['--id', 'binary', '--id', 'nobody', '--json']), 1)
  t.equal(parsed(byId), [{ purged: 1 }], 'what a purge by id gives')
  t.ok(byId.stderr.includes('nobody'), `a purge names the id that nobody has: ${byId.stderr}`)
  const gone = ['binary', ...idsOf(unwanted)]
  const left = before.filter((id) => !gone.includes(id))
  t.equal(await deadIds(broker, topic), left, 'dead letters that the purges left')
  t.equal((await t.auditor.read(t.place(topic, 'dead'))).length, left.length, 'entries that the auditor finds')
}

async function replays(
  t: Trial,
  broker: Broker,
  topic: OrderTopic,
  run: Run,
  some: readonly Order[],
  seen: ReturnType<Trial['recorder']>,
): Promise<void> {
  const before = await deadIds(broker, topic)
  const args = some.flatMap(({ id }) => ['--id', id])
  const byId = ended(t, 'replay by id', await run('replay', [...args, '--json']), 0)
  t.equal(parsed(byId), [{ replayed: some.length, left: before.length - some.length }], 'what a replay by id gives')
  await t.until('these are done', () => seen.finished === some.length)
  t.equal(sorted(idsOf(seen.starts)), sorted(idsOf(some)), 'what was handled again')

  // Ended in the middle: what was moved is told, and the rest is where it was.
  const interrupt = new AbortController()
  const slow = run('replay', ['--all', '--rate', '1', '--json'], interrupt.signal)
  await t.until('some of it is done', () => seen.finished > some.length, { withinMs: 60_000, seen: () => seen.finished })
  interrupt.abort()
  const result = await slow
  const left = await deadIds(broker, topic)
  t.struck('dead letters that an interrupted replay left', left.length)
  const broken = ended(t, 'an interrupted replay', result, 1)
  t.equal(parsed(broken), [{ replayed: before.length - some.length - left.length, left: null }], 'what an interrupted replay gives')
  const rest = ended(t, 'the replay of the rest', await run('replay', ['--all', '--limit', '1000']), 0)
  t.ok(rest.stdout.includes(`replayed ${left.length} `) && / 0 are left/.test(rest.stdout), `the replay says what it did: ${rest.stdout}`)
  t.equal(await deadIds(broker, topic), [], 'dead letters after the replay of all')
  const nothing = ended(t, 'a replay of nothing', await run('replay', ['--all', '--json']), 0)
  t.equal(parsed(nothing), [{ replayed: 0, left: 0 }], 'what a replay of nothing gives')
}
