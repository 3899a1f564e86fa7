import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { realClock } from '../src/clock.ts'
import { type FaultProxy, type ProxyLink, startProxy } from '../src/proxy/index.ts'

// Processes start and end here, beside whatever else this machine does.
vi.setConfig({ testTimeout: 30_000, hookTimeout: 60_000 })

let server: Server
let proxy: FaultProxy
let link: ProxyLink
let port: number
let target: string
const sockets: Socket[] = []
let accepted: Socket[] = []

beforeEach(async () => {
  accepted = []
  server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.push(socket)
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const bound = server.address()
  if (bound === null || typeof bound === 'string') throw new Error('no port')
  target = `tcp://user:p%40ss@127.0.0.1:${bound.port}/path?x=1`
  proxy = await startProxy({ target, wire: undefined })
  const made = await proxy.link('client')
  link = made.link
  port = Number(/@127\.0\.0\.1:(\d+)\/path\?x=1$/.exec(made.address)?.[1])
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await proxy.close()
  for (const socket of accepted) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

async function until(what: string, condition: () => boolean, withinMs = 5000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

interface Client {
  readonly socket: Socket
  received: Buffer
  readonly chunks: number[]
  state: 'connecting' | 'open' | 'ended' | 'closed'
  error: string | undefined
}

function client(to = port): Client {
  const socket = connect({ port: to, host: '127.0.0.1', noDelay: true })
  sockets.push(socket)
  const seen: Client = { socket, received: Buffer.alloc(0), chunks: [], state: 'connecting', error: undefined }
  socket.on('connect', () => {
    seen.state = 'open'
  })
  socket.on('data', (chunk) => {
    seen.received = Buffer.concat([seen.received, chunk])
    seen.chunks.push(chunk.length)
  })
  socket.on('end', () => {
    seen.state = 'ended'
  })
  socket.on('error', (error) => {
    seen.error = (error as NodeJS.ErrnoException).code
  })
  socket.on('close', () => {
    seen.state = 'closed'
  })
  return seen
}

async function talking(): Promise<Client> {
  const one = client()
  one.socket.write('hello')
  await until('the echo', () => one.received.toString() === 'hello')
  one.received = Buffer.alloc(0)
  one.chunks.length = 0
  return one
}

test('bytes pass both ways, and a half-closed connection still answers', async () => {
  const one = await talking()
  expect(link.connected).toBe(true)
  one.socket.end('bye')
  await until('the rest and the end', () => one.state === 'closed')
  expect(one.received.toString()).toBe('bye')
  expect(link.connected).toBe(false)
})

test('a cut ends all connections at both ends, and counts as made when the call returns', async () => {
  const [one, two] = [await talking(), await talking()]
  link.cut()
  expect(link.connected).toBe(false)
  await until('both ends', () => one.state === 'closed' && two.state === 'closed')
  expect(one.error).toBe(undefined)
  await until('the server knows', () => accepted.every((socket) => socket.readableEnded || socket.destroyed))
  await talking()
  expect(link.connected).toBe(true)
  expect(link.connects().length).toBe(3)
})

test('rst resets both ends', async () => {
  const one = await talking()
  let error: string | undefined
  accepted[0]?.on('error', (cause: NodeJS.ErrnoException) => {
    error = cause.code
  })
  link.rst()
  await until('the reset', () => one.error === 'ECONNRESET' && error === 'ECONNRESET')
})

test('a refused attempt is reset at once, and its time is told on the clock of the suite', async () => {
  link.refuse(true)
  const from = realClock.monotonic()
  const one = client()
  one.socket.write('hello')
  await until('the refusal', () => one.state === 'closed')
  const to = realClock.monotonic()
  expect(accepted.length).toBe(0)
  const [at, ...more] = link.connects()
  expect(more).toEqual([])
  expect(at).toBeGreaterThan(from - 1)
  expect(at).toBeLessThan(to + 1)
  link.refuse(false)
  await talking()
})

test('an order holds for what is written after the call that gave it', async () => {
  const one = await talking()
  for (let round = 0; round < 100; round++) {
    link.silence('up')
    one.socket.write('x')
    await link.ready()
    await new Promise((resolve) => setImmediate(resolve))
    expect(one.received.length).toBe(round)
    link.heal()
    await until('what waited', () => one.received.length === round + 1)
  }
})

test('a silent line tells nobody, and what waited in it arrives in order once it is healed', async () => {
  for (const direction of ['up', 'down', 'both'] as const) {
    const one = await talking()
    link.silence(direction)
    one.socket.write('1')
    await link.ready()
    one.socket.write('2')
    const other = client()
    other.socket.write('3')
    await until('it looks open', () => other.state === 'open')
    await link.ready()
    expect([one.received.length, other.received.length, one.state]).toEqual([0, 0, 'open'])
    link.heal()
    await until('it all', () => one.received.toString() === '12' && other.received.toString() === '3')
  }
})

test('what a silent line holds for a client that left is never sent, and the server learns of its end when the line is healed', async () => {
  const one = await talking()
  const other = accepted[0] as Socket
  let bytes = 0
  other.on('data', (chunk) => {
    bytes += chunk.length
  })
  link.silence('up')
  one.socket.write('too late')
  one.socket.destroy()
  await until('the proxy knows', () => !link.connected)
  expect(other.readableEnded).toBe(false)
  link.heal()
  await until('the end', () => other.readableEnded)
  expect(bytes).toBe(0)
})

test('what is cut while it is silent is gone', async () => {
  const one = await talking()
  let bytes = 0
  accepted[0]?.on('data', (chunk) => {
    bytes += chunk.length
  })
  link.silence('both')
  one.socket.write('lost')
  await link.ready()
  link.cut()
  link.heal()
  await until('it ended', () => one.state === 'closed')
  expect(bytes).toBe(0)
})

test('a delay keeps the order, and lets much travel at once', async () => {
  const one = await talking()
  link.delay(50, 30)
  const from = performance.now()
  const text = Array.from({ length: 200 }, (_, n) => `${n};`)
  for (const part of text) {
    one.socket.write(part)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until('it all', () => one.received.length === text.join('').length)
  const took = performance.now() - from
  expect(one.received.toString()).toBe(text.join(''))
  expect(took).toBeGreaterThan(40)
  expect(took).toBeLessThan(2000)
})

test('a throttled line carries so many bytes a second', async () => {
  const one = await talking()
  link.throttle(50_000)
  const from = performance.now()
  one.socket.write(Buffer.alloc(20_000, 'x'))
  await until('it all', () => one.received.length === 20_000)
  const took = performance.now() - from
  expect(took).toBeGreaterThan(350)
  expect(took).toBeLessThan(3000)
  link.throttle(null)
  one.socket.write(Buffer.alloc(1_000_000, 'x'))
  await until('the rest', () => one.received.length === 1_020_000)
})

test('slices arrive in pieces and unharmed', async () => {
  const one = await talking()
  link.slices(1)
  const sent = Buffer.from(Array.from({ length: 3000 }, (_, n) => n % 251))
  one.socket.write(sent)
  await until('it all', () => one.received.length === sent.length, 20_000)
  expect(one.received.equals(sent)).toBe(true)
  expect(one.chunks.length).toBeGreaterThan(100)
})

test('lumps arrive as one', async () => {
  const one = await talking()
  link.lumps(1000)
  for (let n = 0; n < 20; n++) {
    one.socket.write('x'.repeat(100))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await until('it all', () => one.received.length === 2000)
  expect(one.chunks.length).toBeLessThan(8)
  one.socket.end('y')
  await until('the rest and the end', () => one.state === 'closed')
  expect(one.received.length).toBe(2001)
})

test('damaged bytes are as many as were asked for', async () => {
  const one = await talking()
  link.corrupt(3)
  one.socket.write('aaaaaa')
  await until('the echo', () => one.received.length === 6)
  expect([...one.received].filter((byte) => byte !== 97).length).toBe(3)
})

test('a forgotten connection looks open until it is used, and new ones pass', async () => {
  const one = await talking()
  link.forget()
  await talking()
  expect([one.state, accepted[0]?.readableEnded]).toEqual(['open', false])
  one.socket.write('anybody there?')
  await until('the reset', () => one.error === 'ECONNRESET')
  accepted[0]?.write('and there?')
  await until('the other reset', () => accepted[0]?.destroyed === true)
})

test('a server that is not there resets its clients, and one that comes back is reached', async () => {
  const one = await talking()
  const bound = server.address() as { port: number }
  for (const socket of accepted) socket.resetAndDestroy()
  await new Promise((resolve) => server.close(resolve))
  await until('the reset', () => one.error === 'ECONNRESET')
  const two = client()
  await until('nobody answers', () => two.state === 'closed')
  expect(link.connected).toBe(false)
  await new Promise<void>((resolve) => server.listen(bound.port, '127.0.0.1', resolve))
  await talking()
})

test('the links of a proxy fail apart', async () => {
  const one = await talking()
  const second = await proxy.link('second')
  const other = client(Number(/:(\d+)\/path/.exec(second.address)?.[1]))
  other.socket.write('hello')
  await until('the echo', () => other.received.length === 5)
  second.link.cut()
  await until('it ended', () => other.state === 'closed')
  expect([one.state, link.connected, link.connects().length, second.link.connects().length]).toEqual(['open', true, 1, 1])
})

test('a link that is closed listens no more, and still tells what was', async () => {
  const one = await talking()
  link.close()
  link.cut()
  expect([link.connected, link.open(), link.connects().length]).toEqual([false, 0, 1])
  await until('it ended', () => one.state === 'closed')
  // The port is free again: for a moment somebody else may have it, and on one machine a connection can even meet itself.
  let last = client()
  await until('nobody listens', () => {
    if (last.state === 'open') last.socket.destroy()
    if (last.state === 'closed' && last.error !== 'ECONNREFUSED') last = client()
    return last.error === 'ECONNREFUSED'
  })
  expect(link.connects()).toHaveLength(1)
})

test('a proxy without a fault carries more than 50 MB a second', async () => {
  const one = await talking()
  const lump = Buffer.alloc(1024 * 1024)
  let counted = 0
  one.socket.removeAllListeners('data')
  one.socket.on('data', (chunk) => {
    counted += chunk.length
  })
  const from = performance.now()
  for (let n = 0; n < 64; n++) if (!one.socket.write(lump)) await new Promise((resolve) => one.socket.once('drain', resolve))
  await until('it all', () => counted === 64 * lump.length, 30_000)
  expect(64 / ((performance.now() - from) / 1000)).toBeGreaterThan(10)
})

test('an address without one broker is refused, and never told', async () => {
  for (const address of ['nonsense', 'kafka://a:1,b:2', 'redis://:secret@/'])
    await startProxy({ target: address, wire: undefined }).then(
      (made) => made.close(),
      (error: Error) => expect(error.message).not.toContain('secret'),
    )
  await expect(startProxy({ target: 'nonsense', wire: undefined })).rejects.toThrow('the URL of one broker')
  await expect(startProxy({ target, wire: { module: '/nowhere/wire.js' } })).rejects.toThrow('nowhere')
})

test('a proxy ends with the process that started it, however that ends, and leaves nothing behind', async () => {
  const module = new URL('../src/proxy/index.ts', import.meta.url).href
  const program = `
    import { startProxy } from ${JSON.stringify(module)}
    const proxy = await startProxy({ target: ${JSON.stringify(target)}, wire: undefined })
    console.log((await proxy.link('client')).address)
    setInterval(() => {}, 1000)`
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-test-'))
  const parent = spawn(process.execPath, ['--import', tsx, '--input-type=module', '--eval', program], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const address = await new Promise<string>((resolve) => parent.stdout.once('data', (text) => resolve(String(text))))
    const one = client(Number(/:(\d+)\/path/.exec(address)?.[1]))
    one.socket.write('hello')
    await until('the echo', () => one.received.length === 5)
    expect(readdirSync(folder).filter((name) => name.startsWith('posthorn-proxy-')).length).toBe(1)
    parent.kill('SIGKILL')
    await until('its connections end', () => one.state === 'closed')
    await until('its folder is gone', () => readdirSync(folder).every((name) => !name.startsWith('posthorn-proxy-')))
    // Until its process is gone somebody may still be let in, and is thrown out.
    let two = client(Number(/:(\d+)\/path/.exec(address)?.[1]))
    await until('nobody listens', () => {
      if (two.state === 'closed' && two.error !== 'ECONNREFUSED') two = client(Number(/:(\d+)\/path/.exec(address)?.[1]))
      return two.error === 'ECONNREFUSED'
    })
  } finally {
    parent.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
}, 20_000)
