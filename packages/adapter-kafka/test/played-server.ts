// A server that is played: it takes every request, and answers those of a group's members.

import { createServer, type Socket } from 'node:net'
import { ByteReader, ByteWriter } from '../src/bytes.ts'
import type { Address } from '../src/client.ts'

const apiVersions = 18

function answerTo(api: number, throttleMs: number): ByteWriter {
  const writer = new ByteWriter()
  if (api === apiVersions) {
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
  writer.int32(throttleMs)
  writer.int16(0)
  return writer
}

export interface PlayedServer {
  readonly address: Address
  /** Connections that get no more answers, by their number from 0. */
  readonly silent: Set<number>
  stop(): Promise<void>
}

/** `throttleMs`: for how long it wants to be left alone after each answer. */
export async function playServer(throttleMs: number): Promise<PlayedServer> {
  const sockets = new Set<Socket>()
  const silent = new Set<number>()
  const server = createServer((socket) => {
    const number = sockets.size
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
        if (silent.has(number)) continue
        const body = answerTo(api, throttleMs).done()
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
  return {
    address: { host: '127.0.0.1', port: typeof address === 'object' && address !== null ? address.port : 0 },
    silent,
    async stop() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
