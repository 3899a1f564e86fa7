import { expect, test } from 'vitest'
import type { Operation } from '../src/harness.ts'
import { createReader as amqpReader } from '../src/wires/amqp.ts'
import type { Frame, WireReader } from '../src/wires/wire.ts'

const short = (text: string): Buffer => Buffer.concat([Buffer.from([text.length]), Buffer.from(text)])
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 65_535)])
const u64 = (value: number): Buffer => Buffer.concat([u32(0), u32(value)])

function frame(type: number, channel: number, ...parts: readonly Buffer[]): Buffer {
  const payload = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([type]), u16(channel), u32(payload.length), payload, Buffer.from([0xce])])
}
const method = (channel: number, classId: number, id: number, ...args: readonly Buffer[]): Buffer =>
  frame(1, channel, u16(classId), u16(id), ...args)
const content = (channel: number, body: string, step = 10): Buffer => {
  const bodies: Buffer[] = []
  for (let at = 0; at < body.length; at += step) bodies.push(frame(3, channel, Buffer.from(body.slice(at, at + step))))
  return Buffer.concat([frame(2, channel, u16(60), u16(0), u64(body.length), u16(0)), ...bodies])
}
const publish = (channel: number, body = 'hello'): Buffer =>
  Buffer.concat([method(channel, 60, 40, u16(0), short('orders'), short('1'), Buffer.from([1])), content(channel, body)])
const confirm = (channel: number, tag: number, multiple = false, id = 80): Buffer =>
  method(channel, 60, id, u64(tag), Buffer.from([multiple ? 1 : 0]))
const returned = (channel: number): Buffer =>
  Buffer.concat([method(channel, 60, 50, u16(312), short('NO_ROUTE'), short('orders'), short('1')), content(channel, 'hello')])
const deliver = (channel: number, tag: number): Buffer =>
  Buffer.concat([
    method(channel, 60, 60, short('c1'), u64(tag), Buffer.from([0]), short('orders'), short('1')),
    content(channel, 'a body in three frames'),
  ])
const confirmSelect = (channel: number): Buffer => method(channel, 85, 10, Buffer.from([0]))
const selected = (channel: number): Buffer => method(channel, 85, 11)
const table = u32(0)
const declare = (channel: number, bits: number): Buffer =>
  method(channel, 50, 10, u16(0), short('orders__email:0'), Buffer.from([bits]), table)
const declared = (channel: number): Buffer => method(channel, 50, 11, short('orders__email:0'), u32(0), u32(0))
const heartbeat = frame(8, 0)

const never = (): boolean => false
const only =
  (...operations: readonly Operation[]) =>
  (operation: Operation) =>
    operations.includes(operation)
const shown = (frames: readonly Frame[]): string[] =>
  frames
    .filter(({ operation, lost }) => operation !== undefined || lost !== undefined)
    .map(({ operation, requests, lost }) => `${operation ?? '-'} ${requests}${lost === undefined ? '' : ` lost ${lost}`}`)
const passed = (frames: readonly Frame[]): Buffer =>
  Buffer.concat(frames.filter(({ lost }) => lost === undefined).map(({ bytes }) => bytes))

function confirming(messages: number): WireReader {
  const reader = amqpReader(undefined)
  reader.up(Buffer.from('AMQP\0\0\x09\x01'))
  reader.up(confirmSelect(1))
  reader.down(selected(1), never)
  for (let n = 0; n < messages; n++) reader.up(publish(1))
  return reader
}

test('a connection greets, opens and closes by requests that are answered', () => {
  const reader = amqpReader(undefined)
  const start = [
    Buffer.from('AMQP\0\0\x09\x01'),
    method(0, 10, 11, table, short('PLAIN')),
    method(0, 10, 31),
    method(0, 10, 40, short('/')),
  ]
  expect(shown(reader.up(Buffer.concat(start)))).toEqual(['connect 1', 'connect 1', 'connect 1'])
  const answers = Buffer.concat([method(0, 10, 10, table), method(0, 10, 30), method(0, 10, 41)])
  expect(shown(reader.down(answers, never))).toEqual(['connect 1', 'connect 1', 'connect 1'])
  expect(shown(reader.up(method(0, 10, 50, u16(200), short(''))))).toEqual(['leave 1'])
  expect(shown(reader.down(method(0, 10, 51), never))).toEqual(['leave 1'])
})

test('declaring, looking, subscribing and giving up are told apart, and what waits for no answer is not open', () => {
  const reader = amqpReader({ methods: { 'basic.qos': 'settle' } })
  reader.up(Buffer.from('AMQP\0\0\x09\x01'))
  const consume = method(1, 60, 20, u16(0), short('q'), short('c1'), Buffer.from([8]), table)
  const all = [declare(1, 2), declare(1, 1), declare(1, 16), consume, method(1, 60, 30, short('c1'), Buffer.from([0])), method(1, 60, 10)]
  expect(shown(reader.up(Buffer.concat(all)))).toEqual(['declare 1', 'inspect 1', 'declare 0', 'subscribe 0', 'release 1', 'settle 1'])
  const answers = Buffer.concat([declared(1), declared(1), method(1, 60, 31, short('c1')), method(1, 60, 11)])
  reader.down(method(0, 10, 10, table), never)
  expect(shown(reader.down(answers, never))).toEqual(['declare 1', 'inspect 1', 'release 1', 'settle 1'])
})

test('a publish is open once its body is whole, and a confirmation of many ends many', () => {
  const reader = confirming(0)
  const bytes = publish(1, 'a body of several frames')
  expect(shown(reader.up(bytes.subarray(0, bytes.length - 1)))).toEqual([])
  expect(shown(reader.up(bytes.subarray(bytes.length - 1)))).toEqual(['publish 1'])
  for (let n = 0; n < 4; n++) reader.up(publish(1, ''))
  expect(shown(reader.down(confirm(1, 3, true), never))).toEqual(['publish 3'])
  expect(shown(reader.down(Buffer.concat([confirm(1, 5), confirm(1, 4, false, 120), confirm(1, 9)]), never))).toEqual([
    'publish 1',
    'publish 1',
    'publish 0',
  ])
})

test('a publish without confirmations waits for none, and acknowledgements of the client neither', () => {
  const reader = amqpReader(undefined)
  reader.up(Buffer.from('AMQP\0\0\x09\x01'))
  expect(shown(reader.up(Buffer.concat([publish(1), confirm(1, 1)])))).toEqual(['publish 0', 'settle 0'])
})

test('withheld confirmations vanish and everything else flows', () => {
  const reader = confirming(3)
  reader.up(declare(1, 0))
  const bytes = Buffer.concat([confirm(1, 2, true), deliver(1, 1), declared(1), heartbeat, confirm(1, 3)])
  const frames = reader.down(bytes, only('publish'))
  expect(frames.reduce((sum, { lost = 0 }) => sum + lost, 0)).toBe(3)
  expect(passed(frames).equals(Buffer.concat([deliver(1, 1), declared(1), heartbeat]))).toBe(true)
})

test('a later confirmation of many does not bring back what was withheld', () => {
  const reader = confirming(6)
  expect(shown(reader.down(Buffer.concat([confirm(1, 1), confirm(1, 3)]), only('publish')))).toEqual([
    'publish 0 lost 1',
    'publish 0 lost 1',
  ])
  const frames = reader.down(confirm(1, 5, true), never)
  expect(passed(frames).equals(Buffer.concat([confirm(1, 2), confirm(1, 4), confirm(1, 5)]))).toBe(true)
  expect(passed(reader.down(confirm(1, 6, true, 120), never)).equals(confirm(1, 6, false, 120))).toBe(true)
  expect(passed(reader.down(confirm(1, 0, true), never)).length).toBe(0)
})

test('a returned message that vanished takes its confirmation along', () => {
  const reader = confirming(2)
  const lost = reader.down(returned(1), only('publish'))
  expect([passed(lost).length, lost.every((one) => one.lost === 0)]).toEqual([0, true])
  expect(shown(reader.down(Buffer.concat([confirm(1, 1), confirm(1, 2)]), never))).toEqual(['publish 0 lost 1', 'publish 1'])
})

test('deliveries and heartbeats can be withheld, whole', () => {
  const reader = confirming(0)
  const frames = reader.down(Buffer.concat([deliver(2, 1), heartbeat, method(1, 10, 60, short('low on memory'))]), only('read', 'renew'))
  expect(frames.reduce((sum, { lost = 0 }) => sum + lost, 0)).toBe(2)
  expect(passed(frames).equals(method(1, 10, 60, short('low on memory')))).toBe(true)
  // A delivery that began to vanish does so to its end.
  const parts = [deliver(2, 2), deliver(2, 3)]
  const first = (parts[0] as Buffer).subarray(0, 60)
  const begun = reader.down(first, only('read'))
  const rest = reader.down(Buffer.concat([(parts[0] as Buffer).subarray(60), parts[1] as Buffer]), never)
  expect(passed([...begun, ...rest]).equals(parts[1] as Buffer)).toBe(true)
})

test('what is open on a channel ends with it, and a new one counts from 1', () => {
  for (const how of ['client', 'server', 'connection']) {
    const reader = confirming(3)
    reader.down(confirm(1, 1), only('publish'))
    reader.up(declare(1, 0))
    if (how === 'client') {
      expect(shown(reader.up(method(1, 20, 40, u16(200), short('')))).join()).toBe('release 1')
      expect(shown(reader.down(Buffer.concat([declared(1), method(1, 20, 41)]), never))).toEqual(['declare 1', 'release 1', 'publish 3'])
    } else {
      const close = how === 'server' ? method(1, 20, 40, u16(404), short('')) : method(0, 10, 50, u16(320), short(''))
      expect(shown(reader.down(close, never)).filter((line) => !line.startsWith('connect'))).toEqual(['declare 1', 'publish 3'])
      reader.up(method(1, 20, 41))
    }
    reader.up(Buffer.concat([method(1, 20, 10, short('')), confirmSelect(1)]))
    reader.down(Buffer.concat([method(1, 20, 11, u32(0)), selected(1)]), never)
    reader.up(publish(1))
    expect(shown(reader.down(confirm(1, 1), never))).toEqual(['publish 1'])
  }
})

test('frames are the same wherever the stream is split, and no byte is lost', () => {
  const asks = Buffer.concat([Buffer.from('AMQP\0\0\x09\x01'), confirmSelect(1), publish(1), publish(1, ''), declare(1, 0), heartbeat])
  const answers = Buffer.concat([method(0, 10, 10, table), selected(1), deliver(2, 1), confirm(1, 2, true), declared(1), heartbeat])
  const whole = amqpReader(undefined)
  const expected = [shown(whole.up(asks)), shown(whole.down(answers, never))]
  const withoutConfirms = Buffer.concat([method(0, 10, 10, table), selected(1), deliver(2, 1), declared(1), heartbeat])
  for (let size = 1; size < 24; size++) {
    const [plain, withheld] = [amqpReader(undefined), amqpReader(undefined)]
    const cut = (bytes: Buffer): Buffer[] =>
      Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) => bytes.subarray(n * size, (n + 1) * size))
    const upwards = cut(asks).flatMap((part) => plain.up(part))
    const downwards = cut(answers).flatMap((part) => plain.down(part, never))
    expect([shown(upwards), shown(downwards)]).toEqual(expected)
    expect(passed(upwards).equals(asks)).toBe(true)
    expect(passed(downwards).equals(answers)).toBe(true)
    for (const part of cut(asks)) withheld.up(part)
    expect(passed(cut(answers).flatMap((part) => withheld.down(part, only('publish')))).equals(withoutConfirms)).toBe(true)
  }
})

test('what is no AMQP passes as it came', () => {
  const reader = amqpReader(undefined)
  reader.up(Buffer.from('AMQP\0\0\x09\x01'))
  const odd = Buffer.concat([heartbeat, Buffer.from('AMQP\0\0\x09\x01 and more')])
  expect(passed(reader.down(odd, never)).equals(odd)).toBe(true)
  expect(passed(reader.up(Buffer.from('GET / HTTP/1.1\r\n'))).toString()).toBe('GET / HTTP/1.1\r\n')
})
