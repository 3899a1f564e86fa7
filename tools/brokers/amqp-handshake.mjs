// As much of AMQP 0-9-1 as it takes to know that a server serves: log in and open a virtual host.
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'

const method = { start: 10, startOk: 11, tune: 30, tuneOk: 31, open: 40, openOk: 41, close: 50 }
const shortString = (text) => Buffer.concat([Buffer.from([Buffer.byteLength(text)]), Buffer.from(text)])
const longString = (text) => {
  const body = Buffer.from(text)
  const size = Buffer.alloc(4)
  size.writeUInt32BE(body.length)
  return Buffer.concat([size, body])
}

/** A frame of the connection class on channel 0. */
function frame(id, ...parts) {
  const payload = Buffer.concat([Buffer.from([0, 10, 0, id]), ...parts])
  const head = Buffer.alloc(7)
  head[0] = 1
  head.writeUInt32BE(payload.length, 3)
  return Buffer.concat([head, payload, Buffer.from([0xce])])
}

/** The long strings of a table; other values are skipped, tables inside included. */
function stringsOf(table) {
  const strings = {}
  let at = 0
  while (at < table.length) {
    const name = table.toString('utf8', at + 1, at + 1 + table[at])
    at += 1 + table[at]
    const kind = String.fromCharCode(table[at])
    at += 1
    if (kind === 't') at += 1
    else if (kind === 'S' || kind === 'F') {
      const size = table.readUInt32BE(at)
      if (kind === 'S') strings[name] = table.toString('utf8', at + 4, at + 4 + size)
      at += 4 + size
    } else break
  }
  return strings
}

/**
 * Logs in at an `amqp:` or `amqps:` address, opens its virtual host and answers what the server says of itself (`product`, `version`).
 * Rejects when the server refuses, or has not done all of it within the time.
 */
export function amqpHandshake(address, { tls, timeoutMs = 5_000 } = {}) {
  const url = new URL(address)
  const vhost = url.pathname.length > 1 ? decodeURIComponent(url.pathname.slice(1)) : '/'
  const [user, password] = [decodeURIComponent(url.username || 'guest'), decodeURIComponent(url.password || 'guest')]
  const secure = url.protocol === 'amqps:'
  const target = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || (secure ? 5671 : 5672)) }
  const files = tls === undefined ? {} : { ca: readFileSync(tls.ca), cert: readFileSync(tls.clientCert), key: readFileSync(tls.clientKey) }
  return new Promise((resolve, reject) => {
    const socket = secure ? connectTls({ ...target, ...files }) : connectTcp(target)
    const timer = setTimeout(() => done(new Error(`no answer from ${url.host} within ${timeoutMs} ms`)), timeoutMs)
    const done = (result) => {
      clearTimeout(timer)
      socket.destroy()
      if (result instanceof Error) reject(result)
      else resolve(result)
    }
    let pending = Buffer.alloc(0)
    let about = {}
    const answer = (payload) => {
      const id = payload.readUInt16BE(2)
      if (id === method.start) {
        about = stringsOf(payload.subarray(10, 10 + payload.readUInt32BE(6)))
        socket.write(
          frame(method.startOk, longString(''), shortString('PLAIN'), longString(`\0${user}\0${password}`), shortString('en_US')),
        )
      } else if (id === method.tune) {
        const open = frame(method.open, shortString(vhost), Buffer.from([0, 0]))
        socket.write(Buffer.concat([frame(method.tuneOk, payload.subarray(4, 12)), open]))
      } else if (id === method.openOk) done(about)
      else if (id === method.close) done(new Error(payload.toString('utf8', 7, 7 + payload[6])))
    }
    socket.on('error', done).on('close', () => done(new Error(`${url.host} closed the connection`)))
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk])
      while (pending.length >= 8) {
        if (pending[0] !== 1 && pending[0] !== 8) return done(new Error(`what answers at ${url.host} does not speak AMQP 0-9-1`))
        const size = pending.readUInt32BE(3)
        if (pending.length < size + 8) return
        const payload = pending.subarray(7, 7 + size)
        pending = pending.subarray(size + 8)
        if (payload.length >= 4 && payload.readUInt16BE(0) === 10) answer(payload)
      }
    })
    socket.on(secure ? 'secureConnect' : 'connect', () => socket.write('AMQP\0\0\x09\x01', 'latin1'))
  })
}
