// A server with a quota, played: it answers, and says for how long it wants to be left alone.

import { createServer, type Socket } from 'node:net'
import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import { kafkajsConnections } from '../src/kafkajs.ts'
import type { Settings } from '../src/options.ts'

function answerTo(api: number): ByteWriter {
  const writer = new ByteWriter()
  if (api === 18) {
    writer.int16(0)
    writer.int32(60)
    for (let key = 0; key < 60; key++) {
      writer.int16(key)
      writer.int16(0)
      writer.int16(20)
    }
    writer.int32(0)
    return writer
  }
  writer.int32(3_600_000)
  writer.int16(0)
  return writer
}

it('a quota of the server holds no request back for ever', async () => {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    let rest = Buffer.alloc(0)
    socket.on('data', (bytes) => {
      rest = Buffer.concat([rest, bytes])
      while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
        const reader = new ByteReader(rest, 4)
        const api = reader.int16()
        reader.int16()
        const correlation = reader.int32()
        rest = rest.subarray(4 + rest.readInt32BE(0))
        const body = answerTo(api).done()
        const head = new ByteWriter()
        head.int32(4 + body.length)
        head.int32(correlation)
        socket.write(Buffer.concat([head.done(), body]))
      }
    })
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const settings = {
    tls: async () => null,
    login: async () => null,
    requestTimeoutMs: 1000,
    connectTimeoutMs: 1000,
  } as unknown as Settings
  const clock = {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    timer(ms: number, run: () => void) {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    },
  }
  const open = kafkajsConnections(settings, { name: 'test', clock } as unknown as AdapterContext)
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const connection = await open({ host: '127.0.0.1', port }, new AbortController().signal)
  const beat = () => connection.request('Heartbeat', { groupId: 'g', groupGenerationId: 1, memberId: 'm' })
  expect([(await beat()).errorCode, (await beat()).errorCode]).toEqual([0, 0])
  connection.close()
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})
