// INT-1, INT-6 and INT-9: how messages lie on the wire, today and in earlier releases, and how else they may be spelt.

import { type Message, topic as makeTopic, type Topic, unchecked } from '@posthorn/core'
import type { WireEntry } from '../abilities.ts'
import { bodyOf, faultsOf, filledIn, golden, goldenFiles, goldenSource, goldenType, type Shape, shapes, someTime } from '../golden.ts'
import type { Trial } from '../trial.ts'
import { sameBytes, utf8 } from './stored.ts'

type Topics = Readonly<Record<Shape['topic'], Topic<unknown>>>

const groups = ['workers']
const typed = { groups, schema: unchecked<unknown>(), type: () => goldenType }
function topicsOf(t: Trial, base: string): Topics {
  const made = {
    keyed: makeTopic(t.name(`${base}.keyed`), { ...typed, key: () => 'unused', partitions: 1 }),
    json: makeTopic(t.name(`${base}.json`), { ...typed, partitions: 1 }),
    text: makeTopic(t.name(`${base}.text`), { ...typed, partitions: 1, codec: 'text', schema: unchecked<string>() }),
    bytes: makeTopic(t.name(`${base}.bytes`), { ...typed, partitions: 1, codec: 'bytes', schema: unchecked<Uint8Array>() }),
  }
  return made as unknown as Topics
}

function filesOf(t: Trial): ReturnType<typeof goldenFiles> {
  return goldenFiles(t.abilities.golden ?? t.notProven('this harness has no golden files (golden)'))
}

/** INT-1 */
export async function theyReadOurs(t: Trial): Promise<void> {
  const newest = filesOf(t).at(-1) ?? t.notProven('there is no golden file')
  if (t.auditor.readEntries === undefined) t.notProven('this auditor does not show what lies on the wire (readEntries)')
  const topics = topicsOf(t, 'ours')
  const broker = await t.connect()
  for (const { name, topic, value, key, headers, expiresAt } of shapes)
    await broker.producer(topics[topic]).send(value, {
      id: `golden-${name}`,
      ...(key === undefined ? {} : { key }),
      ...(headers === undefined ? {} : { headers }),
      ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt) }),
    })
  for (const [kind, topic] of Object.entries(topics)) {
    const sent = shapes.filter((shape) => shape.topic === kind)
    const entries = await t.auditor.readEntries(topic.name)
    t.equal(entries.length, sent.length, `entries of ${kind} messages`)
    for (const [index, { name }] of sent.entries()) {
      const found = golden(name, entries[index] as WireEntry)
      t.equal(found, newest.entries.find((each) => each.name === name) as typeof found, `the message "${name}" on the wire`)
      t.equal(faultsOf(found), [], `what is wrong with "${name}" as an event of CloudEvents 1.0 in binary mode`)
    }
  }
}

/** INT-9 */
export async function oldMessagesAreReadable(t: Trial): Promise<void> {
  const files = filesOf(t)
  const write = t.auditor.writeEntry?.bind(t.auditor) ?? t.notProven('this auditor does not write a message as it is (writeEntry)')
  const broker = await t.connect()
  for (const { release, entries } of files) {
    const topics = topicsOf(t, `r${release.replace(/[^0-9a-z]+/g, '-')}`)
    const got = new Map<string, Message<unknown>>()
    for (const topic of Object.values(topics)) {
      await broker.declare(topic)
      await broker.consume(topic, t.consumeOptions(), (message) => void got.set(message.id, message))
    }
    const meant = shapes.filter(({ name }) => entries.some((entry) => entry.name === name))
    t.atLeast(meant.length, 10, `messages of release ${release}`)
    for (const { name, topic } of meant) {
      const entry = entries.find((each) => each.name === name)
      if (entry !== undefined) await write(topics[topic].name, filledIn(entry))
    }
    await t.until(`the messages of release ${release} are handled`, () => got.size === meant.length, {
      seen: () => [[...got.keys()], t.events('dead-lettered').map(({ event }) => event['note'])],
    })
    for (const shape of meant) asSent(t, shape, got.get(`golden-${shape.name}`), release)
    for (const topic of Object.values(topics)) await t.settled(topic)
  }
}

function asSent(t: Trial, shape: Shape, message: Message<unknown> | undefined, release: string): void {
  const of = `of "${shape.name}" from release ${release}`
  if (message === undefined) return t.fail(`the message ${of} was not handled`)
  const { type, source, time, key, headers, value } = message
  t.equal([type, source, time?.getTime(), key], [goldenType, goldenSource, someTime, shape.key], `type, source, time and key ${of}`)
  const { traceparent: _, ...own } = headers
  t.equal(own, { ...shape.headers }, `headers ${of}`)
  const body = bodyOf({ ...shape, value })
  t.ok(sameBytes(body, bodyOf(shape)), `the value ${of}: ${JSON.stringify(value)}`)
}

/** How other libraries write the name of an attribute in a protocol that has headers. */
const spellings = ['ce_', 'ce-', 'cloudEvents:', 'cloudEvents_']

/** INT-6. That we write one spelling alone is what INT-1 shows. */
export async function lenientReader(t: Trial): Promise<void> {
  const write = t.auditor.writeEntry?.bind(t.auditor) ?? t.notProven('this auditor does not write a message as it is (writeEntry)')
  const topic = makeTopic(t.name('spelt'), { schema: unchecked<unknown>(), key: () => 'unused', groups, partitions: 1 })
  const broker = await t.connect()
  await broker.declare(topic)
  const got = new Map<string, Message<unknown>>()
  await broker.consume(topic, t.consumeOptions(), (message) => void got.set(message.id, message))
  const attributes = (id: string): readonly (readonly [string, string])[] => [
    ['specversion', '1.0'],
    ['id', id],
    ['source', '/theirs'],
    ['type', 'com.example.made'],
    ['time', new Date(someTime).toISOString()],
    ['partitionkey', 'ada'],
  ]
  const wanted: string[] = []
  const put = async (
    id: string,
    prefix: string,
    contentType: string | null,
    more: readonly (readonly [string, string])[] = [],
  ): Promise<void> => {
    wanted.push(id)
    const headers = [...attributes(id).map(([name, value]) => [`${prefix}${name}`, value] as const), ...more]
    await write(topic.name, { headers, contentType, body: utf8('{"n":7}'), key: 'ada' })
  }
  for (const prefix of spellings) {
    await put(`plain ${prefix}`, prefix, 'application/json')
    await put(`repeated ${prefix}`, prefix, 'application/json', [[`${prefix}datacontenttype`, 'application/json']])
    await put(`only as an attribute ${prefix}`, prefix, null, [[`${prefix}datacontenttype`, 'application/json']])
  }
  for (const contentType of ['Application/JSON', 'application/json;charset=UTF-8', 'APPLICATION/JSON ; Charset="utf-8"'])
    await put(`content type ${contentType}`, 'ce_', contentType)
  await t.until('all are handled', () => got.size === wanted.length, {
    seen: () => [wanted.filter((id) => !got.has(id)), [...got.keys()], t.events('dead-lettered').map(({ event }) => event['note'])],
  })
  for (const id of wanted) {
    const { type, source, time, key, headers, value } = got.get(id) as Message<unknown>
    t.equal(
      { type, source, time: time?.getTime(), key, headers: { ...headers }, value },
      { type: 'com.example.made', source: '/theirs', time: someTime, key: 'ada', headers: {}, value: { n: 7 } },
      `what the handler gets of "${id}"`,
    )
  }
  await t.settled(topic)
}
