// The certificates that clauses show must be wrong in the way they say, and right where they say so: by OpenSSL's judgement.
import { createServer, type Server, connect as tcp } from 'node:net'
import { connect } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Certificate, makeAuthority, selfSigned } from '../src/certificates.ts'
import { openFront, openHangingHost, type SecureFront } from '../src/secure-front.ts'

const [right, other] = [makeAuthority('right authority'), makeAuthority('another authority')]
let echo: Server
let front: SecureFront
let port: number

beforeAll(async () => {
  echo = createServer((socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve))
  const behind = (echo.address() as { port: number }).port
  front = await openFront(right.issue('server'))
  port = Number(new URL(front.before(`redis://127.0.0.1:${behind}`).replace('redis:', 'http:')).port)
})
afterAll(async () => {
  await front.close()
  await new Promise((resolve) => echo.close(resolve))
})

/** What comes back of a word, or the code with which the client refuses. */
function said(ca: string, own: Partial<Certificate> = {}): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, ca, ...own }, () => socket.write('word'))
    socket.on('data', (bytes) => {
      resolve(bytes.toString())
      socket.destroy()
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

it('a right certificate is believed, and what lies behind it is reached', async () => {
  front.show(right.issue('server'))
  expect(await said(right.cert)).toBe('word')
})

it('each wrong one is refused for its own reason', async () => {
  const shown: readonly (readonly [Certificate, string])[] = [
    [right.issue('server', { expired: true }), 'CERT_HAS_EXPIRED'],
    [right.issue('server', { hosts: ['elsewhere.example'] }), 'ERR_TLS_CERT_ALTNAME_INVALID'],
    [selfSigned('server'), 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    [other.issue('server'), 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
  ]
  for (const [certificate, code] of shown) {
    front.show(certificate)
    expect(await said(right.cert)).toBe(code)
  }
})

it('notes by name who showed a certificate, and who showed none', async () => {
  front.show(right.issue('server'))
  const before = front.shown.length
  await said(right.cert, other.issue('somebody'))
  await said(right.cert)
  expect(front.shown.slice(before)).toEqual(['somebody', null])
})

it('a hanging host accepts and says nothing', async () => {
  const hanging = await openHangingHost()
  const { port: at } = new URL(hanging.before('redis://127.0.0.1:1').replace('redis:', 'http:'))
  const socket = tcp(Number(at), '127.0.0.1')
  // It is closed by a host that has not read everything: that may be told as a reset.
  socket.on('error', () => {})
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  socket.write('is anybody there?')
  const ended = new Promise<string>((resolve) => socket.once('close', () => resolve('closed')))
  socket.on('data', () => expect.unreachable('it said something'))
  await hanging.close()
  expect([await ended, hanging.accepted]).toEqual(['closed', 1])
})
