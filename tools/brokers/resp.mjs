// As much of Redis' protocol as administration needs: one connection, one command, one answer.
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'

const crlf = Buffer.from('\r\n')

/** Reads one value from `offset`; answers `{ value, next }`, or undefined when it is not complete yet. */
function parse(buffer, offset) {
  const end = buffer.indexOf(crlf, offset)
  if (end < 0) return undefined
  const kind = String.fromCharCode(buffer[offset])
  const line = buffer.toString('utf8', offset + 1, end)
  const next = end + 2
  if (kind === '+') return { value: line, next }
  if (kind === ':') return { value: line, next }
  if (kind === '-') return { value: new Error(line), next }
  const size = Number(line)
  if (kind === '$') {
    if (size < 0) return { value: null, next }
    return buffer.length < next + size + 2 ? undefined : { value: buffer.toString('utf8', next, next + size), next: next + size + 2 }
  }
  if (kind !== '*') throw new Error(`not an answer of Redis: ${JSON.stringify(buffer.toString('latin1', offset, end))}`)
  const value = []
  let at = next
  for (let index = 0; index < size; index += 1) {
    const item = parse(buffer, at)
    if (item === undefined) return undefined
    value.push(item.value)
    at = item.next
  }
  return { value: size < 0 ? null : value, next: at }
}

const encode = (args) => `*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(String(arg))}\r\n${arg}\r\n`).join('')}`

/** Options of a TLS connection to a server with these files. */
const secure = (tls) =>
  tls === undefined ? {} : { ca: readFileSync(tls.ca), cert: readFileSync(tls.clientCert), key: readFileSync(tls.clientKey) }

/**
 * Sends commands to the server at a `redis:` or `rediss:` address over one connection and answers the last one's reply: text, null or
 * a list of them. Rejects with what the server says to any of them, or when it has not answered all within the time.
 */
export function redisCommands(address, commands, { tls, timeoutMs = 10_000 } = {}) {
  const url = new URL(address)
  const all = [...commands]
  const database = url.pathname.slice(1)
  if (database !== '') all.unshift(['SELECT', database])
  if (url.password !== '') {
    all.unshift(['AUTH', ...(url.username === '' ? [] : [decodeURIComponent(url.username)]), decodeURIComponent(url.password)])
  }
  return new Promise((resolve, reject) => {
    const target = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) }
    const socket = url.protocol === 'rediss:' ? connectTls({ ...target, ...secure(tls) }) : connectTcp(target)
    const timer = setTimeout(() => done(new Error(`no answer from ${url.host} within ${timeoutMs} ms`)), timeoutMs)
    const done = (result) => {
      clearTimeout(timer)
      socket.destroy()
      if (result instanceof Error) reject(result)
      else resolve(result)
    }
    let pending = Buffer.alloc(0)
    let answered = 0
    socket.on('error', done).on('close', () => done(new Error(`${url.host} closed the connection`)))
    socket.on('data', (chunk) => {
      pending = Buffer.concat([pending, chunk])
      try {
        for (let found = parse(pending, 0); found !== undefined; found = parse(pending, 0)) {
          pending = pending.subarray(found.next)
          answered += 1
          if (found.value instanceof Error || answered === all.length) return done(found.value)
        }
      } catch (error) {
        done(error)
      }
    })
    socket.write(all.map(encode).join(''))
  })
}

/** An answer as text, one line per entry. */
export const answerText = (value) =>
  Array.isArray(value)
    ? value
        .flat(Number.POSITIVE_INFINITY)
        .map((one) => one ?? '')
        .join('\n')
    : (value ?? '')
