// RabbitMQ from the launcher: what tests rely on. One server for most of it, since each start takes seconds.
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { amqpHandshake } from '../brokers/amqp-handshake.mjs'
import { identify, lives } from '../brokers/identity.mjs'
import { makeTls, startBroker } from '../brokers/index.mjs'
import { runFolder } from '../brokers/runs.mjs'

delete process.env.POSTHORN_RABBITMQ_URL

let broker
let tls
const folder = mkdtempSync(join(tmpdir(), 'posthorn-tls-'))
before(async () => {
  tls = await makeTls(folder)
  const users = [{ name: 'app', password: 'right', permissions: { write: '^a' }, tags: ['monitoring'] }]
  broker = await startBroker('rabbitmq', { tls, users, vhosts: ['one'] })
})
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await broker?.stop()
})

test('it says what it is over encrypted connections, to its users and in its virtual hosts only', async () => {
  assert.equal(broker.url, `amqps://app:right@127.0.0.1:${broker.port}/one`)
  assert.equal((await amqpHandshake(broker.url, { tls })).version, broker.version)
  await assert.rejects(amqpHandshake(broker.url.replace('right', 'wrong'), { tls }))
  await assert.rejects(amqpHandshake(broker.url.replace('app:right', 'guest:guest'), { tls }))
  await assert.rejects(amqpHandshake(`${broker.url}x`, { tls }), /vhost onex/)
  await assert.rejects(amqpHandshake(broker.url.replace('amqps:', 'amqp:'), { timeoutMs: 300 }))
  assert.match(await broker.control(['list_permissions', '-p', 'one']), /app\t\.\*\t\^a\t\.\*/)
})

test('it is killed, ended and frozen as a process, keeps what it stored, and is wiped', async () => {
  await broker.control(['add_vhost', 'two'])
  await broker.signal('SIGKILL')
  assert.equal(broker.pid, undefined)
  await broker.start()
  assert.match(await broker.control(['list_vhosts']), /two/)
  await broker.signal('SIGSTOP')
  await assert.rejects(amqpHandshake(broker.url, { tls, timeoutMs: 50 }), /no answer/)
  await broker.signal('SIGCONT')
  await amqpHandshake(broker.url, { tls })
  await broker.signal('SIGTERM')
  await broker.wipe()
  assert.doesNotMatch(await broker.control(['list_vhosts']), /two/)
  await amqpHandshake(broker.url, { tls })
})

test('two run side by side, and one that is stopped leaves no process and no folder', async () => {
  const notes = join(runFolder(), 'processes')
  const mine = new Set(readdirSync(notes))
  const other = await startBroker('rabbitmq')
  const added = readdirSync(notes).filter((pid) => !mine.has(pid))
  // The server and its name service.
  assert.equal(added.length, 2)
  assert.equal(other.url, `amqp://guest:guest@127.0.0.1:${other.port}`)
  assert.equal((await amqpHandshake(other.url)).product, 'RabbitMQ')
  const processes = added.map((pid) => identify(Number(pid)))
  await other.stop()
  assert.ok(processes.every((one) => !lives(one)))
  assert.equal(existsSync(other.folder), false)
  await amqpHandshake(broker.url, { tls })
})
