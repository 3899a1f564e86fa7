import { expect, test } from 'vitest'
import type { Operation } from '../src/harness.ts'
import { createReader } from '../src/wires/mqtt.ts'
import type { Frame, WireReader } from '../src/wires/wire.ts'

const never = (): boolean => false
const shown = (frames: readonly Frame[]): string[] =>
  frames.map(({ operation, requests, lost }) => `${operation ?? '-'} ${requests}${lost === undefined ? '' : ` lost ${lost}`}`)
const up = (reader: WireReader, ...packets: readonly Buffer[]): string[] => shown(reader.up(Buffer.concat(packets)))
const down = (reader: WireReader, packets: readonly Buffer[], withholds: (operation: Operation) => boolean = never): string[] =>
  shown(reader.down(Buffer.concat(packets), withholds))

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)])
function packet(first: number, ...parts: readonly (Buffer | readonly number[])[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)))
  const length = body.length < 128 ? [body.length] : [(body.length & 127) | 128, body.length >> 7]
  return Buffer.concat([Buffer.from([first, ...length]), body])
}
const connect = (version = 5): Buffer => packet(0x10, text('MQTT'), [version, 2, 0, 5], version === 5 ? [0] : [], text('me'))
const publish = (topic: string, id: number, payload: string, version = 5): Buffer =>
  packet(id === 0 ? 0x30 : 0x32, text(topic), id === 0 ? [] : [id >> 8, id & 255], version === 5 ? [0] : [], Buffer.from(payload))
const subscribe = (id: number, filter: string): Buffer => packet(0x82, [0, id, 0], text(filter), [1])
const puback = (id: number): Buffer => packet(0x40, [0, id])
const suback = (id: number): Buffer => packet(0x90, [0, id, 0, 1])
const connack = packet(0x20, [0, 0, 0])
const ping = Buffer.from([0xc0, 0])
const pong = Buffer.from([0xd0, 0])

test('packets are known by their kind and their topic', () => {
  const reader = createReader({})
  expect(up(reader, connect())).toEqual(['connect 1'])
  expect(
    up(reader, publish('orders/@0', 1, 'x'), publish('posthorn/topic/orders', 2, '{}'), publish('posthorn/member/g/t/m', 3, '{}')),
  ).toEqual(['publish 1', 'declare 1', 'renew 1'])
  expect(
    up(
      reader,
      publish('posthorn/dead/g/t/s/1', 4, 'x'),
      publish('posthorn/dead/g/t/s/1', 5, ''),
      publish('posthorn/retry/g/t/m/1/-', 6, ''),
    ),
  ).toEqual(['publish 1', 'remove 1', 'settle 1'])
  expect(up(reader, subscribe(7, 'orders/@0'), subscribe(8, 'posthorn/dead/g/t/#'), subscribe(9, '$SYS/x'), puback(1))).toEqual([
    'subscribe 1',
    'browse 1',
    '- 0',
    'settle 0',
  ])
})

test('answers belong to what they name, in any order', () => {
  const reader = createReader({})
  up(reader, connect(), publish('t/@0', 1, 'x'), publish('t/@0', 2, 'x'), subscribe(3, 't/@0'))
  expect(down(reader, [connack, puback(2), suback(3), puback(1), puback(1)])).toEqual([
    'connect 1',
    'publish 1',
    'subscribe 1',
    'publish 1',
    '- 0',
  ])
})

test('a packet in pieces is one packet, and several in a piece are several', () => {
  const reader = createReader({})
  const bytes = Buffer.concat([connect(), publish('t/@0', 1, 'x'.repeat(300))])
  const seen: string[] = []
  for (const byte of bytes) seen.push(...shown(reader.up(Buffer.from([byte]))))
  expect(seen).toEqual(['connect 1', 'publish 1'])
})

test('version 3.1.1 has no properties', () => {
  const reader = createReader({})
  up(reader, connect(4))
  expect(up(reader, publish('posthorn/dead/g/t/s/1', 1, '', 4), publish('t/@0', 2, 'x', 4))).toEqual(['remove 1', 'publish 1'])
})

test('what withholds settlements takes their round trips and their echoes, and no later answer is taken for one', () => {
  const reader = createReader({})
  const settles = (operation: Operation): boolean => operation === 'settle'
  up(reader, connect())
  expect(up(reader, puback(1), publish('posthorn/echo/m', 0, '3:1:s'), ping, publish('posthorn/echo/m', 0, '3:2:b'), ping)).toEqual([
    'settle 0',
    'settle 0',
    'settle 1',
    'renew 0',
    'renew 1',
  ])
  expect(down(reader, [pong, pong], settles)).toEqual(['settle 0 lost 1', 'renew 0 lost 0'])
  expect(down(reader, [publish('posthorn/echo/m', 0, '3:1:s'), publish('posthorn/echo/m', 0, '3:2:b')], settles)).toEqual([
    'settle 0 lost 0',
    'renew 0',
  ])
  expect(down(reader, [publish('t/@0', 1, 'x')], (operation) => operation === 'read')).toEqual(['read 0 lost 1'])
})

test('bytes that are no MQTT go through as they are', () => {
  const reader = createReader({})
  expect(up(reader, Buffer.from([0, 1, 2, 3]))).toEqual(['- 0'])
  expect(up(reader, connect())).toEqual(['- 0'])
})
