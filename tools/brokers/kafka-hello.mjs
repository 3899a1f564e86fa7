// As much of Kafka's protocol as it takes to know that a server serves: what versions it speaks, and that its metadata are there.
import { connect } from 'node:net'

function request(key, version, id, body = Buffer.alloc(0)) {
  const head = Buffer.alloc(14)
  head.writeInt32BE(10 + body.length, 0)
  head.writeInt16BE(key, 4)
  head.writeInt16BE(version, 6)
  head.writeInt32BE(id, 8)
  // A client id that is null.
  head.writeInt16BE(-1, 12)
  return Buffer.concat([head, body])
}

/**
 * Answers the versions that the server speaks, by API. `serving`: only once it has told its own metadata too, which is when clients
 * are served. Rejects when there is no answer within the time.
 */
export function kafkaApiVersions({ host = '127.0.0.1', port, timeoutMs = 5_000, serving = false }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const versions = new Map()
    let buffer = Buffer.alloc(0)
    const fail = (error) => {
      socket.destroy()
      reject(error instanceof Error ? error : new Error(error))
    }
    const timer = setTimeout(() => fail(`no answer within ${timeoutMs} ms`), timeoutMs)
    const done = () => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ versions })
    }
    socket.on('error', fail)
    socket.on('close', () => {
      clearTimeout(timer)
      reject(new Error('the server closed the connection'))
    })
    socket.on('connect', () => socket.write(request(18, 0, 1)))
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk])
      while (buffer.length >= 4 && buffer.length >= 4 + buffer.readInt32BE(0)) {
        const size = buffer.readInt32BE(0)
        const body = buffer.subarray(8, 4 + size)
        const id = buffer.readInt32BE(4)
        buffer = buffer.subarray(4 + size)
        if (id === 1) {
          if (body.readInt16BE(0) !== 0) return fail(`error ${body.readInt16BE(0)} for its versions`)
          for (let at = 6; at + 6 <= body.length; at += 6) {
            versions.set(body.readInt16BE(at), { min: body.readInt16BE(at + 2), max: body.readInt16BE(at + 4) })
          }
          if (!serving) return done()
          // Metadata version 1 with no topics: the nodes that are there.
          const none = Buffer.alloc(4)
          socket.write(request(3, 1, 2, none))
        } else {
          if (body.readInt32BE(0) < 1) return fail('no node is registered yet')
          return done()
        }
      }
    })
  })
}
