import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Operation } from '../src/harness.ts'
import { type RedisWireOptions, createReader as redisReader } from '../src/wires/redis.ts'
import type { Frame, WireReader } from '../src/wires/wire.ts'

const never = (): boolean => false
const shown = (frames: readonly Frame[]): string[] =>
  frames.map(({ operation, requests, lost }) => `${operation ?? '-'} ${requests}${lost === undefined ? '' : ` lost ${lost}`}`)
const command = (...words: readonly string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`
const source = 'return redis.call("XADD", KEYS[1], "*", "a", ARGV[1])'
const sha1 = createHash('sha1').update(source).digest('hex')
const options: RedisWireOptions = { scripts: { [sha1]: 'publish' }, commands: { 'SCRIPT LOAD': 'declare' } }

function up(reader: WireReader, text: string): string[] {
  return shown(reader.up(Buffer.from(text)))
}
function down(reader: WireReader, text: string, withholds: (operation: Operation) => boolean = never): string[] {
  return shown(reader.down(Buffer.from(text), withholds))
}

test('requests are known by command, by its first argument, and by the script they run', () => {
  const reader = redisReader(options)
  expect(up(reader, command('XADD', 's', '*', 'a', '1') + command('xgroup', 'create', 's', 'g', '0'))).toEqual(['publish 1', 'declare 1'])
  expect(up(reader, command('EVALSHA', sha1.toUpperCase(), '1', 's', 'x') + command('EVAL', source, '1', 's', 'x'))).toEqual([
    'publish 1',
    'publish 1',
  ])
  expect(up(reader, command('EVALSHA', 'f'.repeat(40), '0') + command('GET', 'x'))).toEqual(['- 0', '- 0'])
  expect(up(reader, command('SCRIPT', 'LOAD', source))).toEqual(['declare 1'])
  expect(up(reader, 'PING\r\nXLEN s\r\n\r\n')).toEqual(['renew 1', 'inspect 1', '- 0'])
})

test('answers belong to requests in their order, whatever their shape', () => {
  const reader = redisReader(options)
  const requests: readonly (readonly string[])[] = [
    ['HELLO', '3'],
    ['XADD', 's'],
    ['GET', 'x'],
    ['XRANGE', 's'],
    ['XACK', 's'],
    ['PING'],
    ['XLEN', 's'],
  ]
  up(reader, requests.map((words) => command(...words)).join(''))
  const answers = [
    '%2\r\n+server\r\n$5\r\nredis\r\n+proto\r\n:3\r\n',
    '$3\r\n1-0\r\n',
    '$-1\r\n',
    '*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n*0\r\n',
    ':1\r\n',
    '+PONG\r\n',
    '-ERR no\r\n',
  ]
  expect(down(reader, answers.join(''))).toEqual(['connect 1', 'publish 1', '- 0', 'browse 1', 'settle 1', 'renew 1', 'inspect 1'])
})

test('pushes and subscriptions answer nothing but themselves, in both versions of the protocol', () => {
  for (const sign of ['*', '>']) {
    const reader = redisReader(options)
    expect(up(reader, command('SUBSCRIBE', 'a', 'b'))).toEqual(['subscribe 2'])
    const confirm = (kind: string, name: string, count: number): string =>
      `${sign}3\r\n$${kind.length}\r\n${kind}\r\n$1\r\n${name}\r\n:${count}\r\n`
    expect(down(reader, confirm('subscribe', 'a', 1) + confirm('subscribe', 'b', 2))).toEqual(['subscribe 1', 'subscribe 1'])
    const message = `${sign}3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n`
    up(reader, command('PING'))
    expect(down(reader, `${message}+PONG\r\n${message}`)).toEqual(['- 0', 'renew 1', '- 0'])
    expect(up(reader, command('UNSUBSCRIBE') + command('XLEN', 's'))).toEqual(['release 1', 'inspect 1'])
    expect(down(reader, `${confirm('unsubscribe', 'a', 1)}${confirm('unsubscribe', 'b', 0)}:3\r\n`)).toEqual([
      'release 1',
      'release 1',
      'inspect 1',
    ])
  }
})

test('a refused subscription is answered once', () => {
  const reader = redisReader(options)
  up(reader, command('SUBSCRIBE', 'a', 'b') + command('PING'))
  expect(down(reader, '-NOPERM\r\n+PONG\r\n')).toEqual(['subscribe 2', 'renew 1'])
})

test('a transaction is what its first command is, and its answer is the one to EXEC', () => {
  const reader = redisReader(options)
  const text = command('MULTI') + command('XADD', 's') + command('XACK', 's') + command('EXEC') + command('PING')
  expect(up(reader, text)).toEqual(['- 0', '- 0', '- 0', 'publish 1', 'renew 1'])
  const answers = '+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n1-0\r\n:1\r\n+PONG\r\n'
  expect(down(reader, answers)).toEqual(['- 0', '- 0', '- 0', 'publish 1', 'renew 1'])
})

test('a blocking read is no open request, and its answer can still be withheld', () => {
  const reader = redisReader(options)
  expect(up(reader, command('XREAD', 'COUNT', '1', 'BLOCK', '2000', 'STREAMS', 's', '$'))).toEqual(['read 0'])
  expect(down(reader, '*-1\r\n', (operation) => operation === 'read')).toEqual(['read 0 lost 1'])
})

test('what asked for no reply is waited for in vain by nobody', () => {
  const reader = redisReader(options)
  const text = command('CLIENT', 'REPLY', 'SKIP') + command('XADD', 's') + command('XLEN', 's') + command('CLIENT', 'REPLY', 'OFF')
  expect(up(reader, text + command('XADD', 's') + command('CLIENT', 'REPLY', 'ON'))).toEqual([
    'connect 0',
    'publish 0',
    'inspect 1',
    'connect 0',
    'publish 0',
    'connect 1',
  ])
  expect(down(reader, ':1\r\n+OK\r\n')).toEqual(['inspect 1', 'connect 1'])
})

test('only the answers asked for are lost, and the ones behind them keep their requests', () => {
  const reader = redisReader(options)
  up(reader, command('XLEN', 's') + command('XADD', 's') + command('XLEN', 's') + command('XADD', 's'))
  const lost = down(reader, ':1\r\n$3\r\n1-0\r\n:2\r\n$3\r\n2-0\r\n', (operation) => operation === 'publish')
  expect(lost).toEqual(['inspect 1', 'publish 0 lost 1', 'inspect 1', 'publish 0 lost 1'])
})

test('frames are the same wherever the stream is split, and no byte is lost', () => {
  const asks = Buffer.from(
    `${command('XADD', 's', '*', 'data', '\r\n*1\r\n$4\r\nPING\r\n') + command('MULTI') + command('XLEN', 's') + command('EXEC')}PING\r\n`,
  )
  const answers = Buffer.from('$3\r\n1-0\r\n+OK\r\n+QUEUED\r\n*1\r\n*2\r\n*0\r\n$4\r\n\r\n\r\n\r\n>2\r\n+a\r\n+b\r\n+PONG\r\n')
  const whole = redisReader(options)
  const expected = [shown(whole.up(asks)), shown(whole.down(answers, never))]
  for (let size = 1; size < 12; size++) {
    for (let first = 0; first < size; first++) {
      const reader = redisReader(options)
      const cut = (bytes: Buffer): Buffer[] => {
        const parts = [bytes.subarray(0, first)]
        for (let at = first; at < bytes.length; at += size) parts.push(bytes.subarray(at, at + size))
        return parts
      }
      const [upwards, downwards] = [cut(asks).flatMap((part) => reader.up(part)), cut(answers).flatMap((part) => reader.down(part, never))]
      expect([shown(upwards), shown(downwards)]).toEqual(expected)
      expect(Buffer.concat(upwards.map(({ bytes }) => bytes)).equals(asks)).toBe(true)
      expect(Buffer.concat(downwards.map(({ bytes }) => bytes)).equals(answers)).toBe(true)
    }
  }
})

test('what is no Redis passes as it came', () => {
  const reader = redisReader(options)
  const bytes = Buffer.from('*x\r\n\x00\x01\x02')
  expect(Buffer.concat(reader.up(bytes).map((frame) => frame.bytes)).equals(bytes)).toBe(true)
  expect(reader.up(Buffer.from('more'))).toEqual([{ bytes: Buffer.from('more'), operation: undefined, requests: 0 }])
  const odd = Buffer.from('HTTP/1.1 400 Bad Request\r\n')
  expect(Buffer.concat(reader.down(odd, never).map((frame) => frame.bytes)).equals(odd)).toBe(true)
})
