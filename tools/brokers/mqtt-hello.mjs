// A first word with an MQTT server: CONNECT, and what its CONNACK says.

import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'

const text = (value) => Buffer.concat([Buffer.from([value.length >> 8, value.length & 255]), Buffer.from(value)])

function connectPacket({ user, password }) {
  const flags = 2 | (user === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40)
  const parts = [
    text('MQTT'),
    Buffer.from([5, flags, 0, 10, 0]),
    text(`ph-launcher-${process.pid}-${Math.random().toString(36).slice(2, 10)}`),
  ]
  if (user !== undefined) parts.push(text(user))
  if (password !== undefined) parts.push(text(password))
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([0x10, body.length]), body])
}

/** Resolves when the server at this address lets us in; else rejects with what it said. `tls` names files: ca. */
export function mqttHello(address, { tls, timeoutMs = 5_000 } = {}) {
  const url = new URL(address)
  const port = Number(url.port || (url.protocol === 'mqtts:' ? 8883 : 1883))
  const options = { host: url.hostname, port }
  const socket =
    url.protocol === 'mqtts:' ? connectTls({ ...options, ...(tls === undefined ? {} : { ca: readFileSync(tls.ca) }) }) : connect(options)
  const known = (value) => (value === '' ? undefined : decodeURIComponent(value))
  return new Promise((resolve, reject) => {
    const end = (finish) => {
      clearTimeout(timer)
      socket.destroy()
      finish()
    }
    const timer = setTimeout(() => end(() => reject(new Error(`no answer within ${timeoutMs} ms`))), timeoutMs)
    let heard = Buffer.alloc(0)
    socket.once('error', (error) => end(() => reject(error)))
    socket.once('close', () => end(() => reject(new Error('the connection was closed'))))
    socket.once(url.protocol === 'mqtts:' ? 'secureConnect' : 'connect', () =>
      socket.write(connectPacket({ user: known(url.username), password: known(url.password) })),
    )
    socket.on('data', (chunk) => {
      heard = Buffer.concat([heard, chunk])
      if (heard.length < 4) return
      const code = heard[3]
      if (heard[0] !== 0x20) end(() => reject(new Error('what answers is not MQTT')))
      else if (code !== 0) end(() => reject(new Error(`the server refuses with reason ${code}`)))
      else end(resolve)
    })
  })
}
