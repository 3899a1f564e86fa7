// Redis from the launcher: what tests rely on. A server that the environment names is not ours to kill, so it is set aside.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { identify, isFrozen, lives } from '../brokers/identity.mjs'
import { makeTls, startBroker } from '../brokers/index.mjs'
import { redisCommands } from '../brokers/resp.mjs'

delete process.env.POSTHORN_REDIS_URL

/** A server that ends with the test. */
async function started(context, options) {
  const broker = await startBroker('redis', options)
  context.after(() => broker.stop())
  return broker
}

async function until(condition) {
  const deadline = performance.now() + 10_000
  while (!condition()) {
    if (performance.now() > deadline) assert.fail('it did not happen within 10 s')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

test('what the durable profile acknowledged is there after kill -9, on the same port', async (context) => {
  const broker = await started(context)
  assert.equal(broker.profile, 'durable')
  await broker.control(['SET', 'a', 'kept'])
  const { pid, port } = broker
  await broker.signal('SIGKILL')
  assert.equal(broker.pid, undefined)
  await assert.rejects(broker.control(['PING']))
  await broker.start()
  await broker.start()
  assert.notEqual(broker.pid, pid)
  assert.deepEqual([await broker.control(['GET', 'a']), broker.port], ['kept', port])
})

test('the stock profile keeps its data on a clean stop and not on kill -9', async (context) => {
  const broker = await started(context, { profile: 'stock' })
  assert.equal(broker.profile, 'graceful')
  await broker.control(['SET', 'a', 'kept'])
  await broker.signal('SIGTERM')
  await broker.start()
  await broker.control(['SET', 'b', 'lost'])
  await broker.signal('SIGKILL')
  await broker.start()
  assert.deepEqual([await broker.control(['GET', 'a']), await broker.control(['GET', 'b'])], ['kept', ''])
})

test('a frozen server answers nothing until it is thawed, and can be ended while frozen', async (context) => {
  const broker = await started(context)
  await broker.signal('SIGSTOP')
  assert.ok(isFrozen(broker.pid))
  let thawed = false
  const answer = broker.control(['PING']).then(() => thawed)
  await assert.rejects(redisCommands(broker.url, [['PING']], { timeoutMs: 50 }), /no answer/)
  thawed = true
  await broker.signal('SIGCONT')
  assert.equal(await answer, true)
  await broker.signal('SIGSTOP')
  await broker.signal('SIGTERM')
  assert.equal(broker.pid, undefined)
})

test('a wiped server runs and holds nothing', async (context) => {
  const broker = await started(context)
  await broker.control(['SET', 'a', '1'])
  const script = await broker.control(['SCRIPT', 'LOAD', 'return 1'])
  await broker.wipe()
  assert.equal(await broker.control(['DBSIZE']), '0')
  assert.equal(await broker.control(['SCRIPT', 'EXISTS', script]), '0')
})

test('several run side by side, and what is stopped leaves nothing', async (context) => {
  const [one, two] = await Promise.all([started(context), started(context, { settings: ['maxmemory 64mb'] })])
  assert.notEqual(one.port, two.port)
  assert.match(await two.control(['CONFIG', 'GET', 'maxmemory']), /67108864/)
  await one.stop()
  assert.equal(existsSync(one.folder), false)
  await assert.rejects(one.start(), /stopped for good/)
  assert.equal(await two.control(['PING']), 'PONG')
})

test('a setting that the server refuses is an error with its own words', async () => {
  await assert.rejects(startBroker('redis', { settings: ['no-such-setting yes'] }), /no-such-setting/)
})

test('encrypted connections and users with rights', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-tls-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  const tls = await makeTls(folder)
  const users = [{ name: 'app', password: 'right', rules: '~a:* &* +@all' }]
  const broker = await started(context, { tls, users })
  assert.equal(broker.url, `rediss://app:right@127.0.0.1:${broker.port}`)
  assert.equal(await redisCommands(broker.url, [['SET', 'a:1', 'x']], { tls }), 'OK')
  await assert.rejects(redisCommands(broker.url, [['SET', 'b:1', 'x']], { tls }), /NOPERM/)
  await assert.rejects(redisCommands(broker.url.replace('right', 'wrong'), [['PING']], { tls }), /WRONGPASS/)
  await assert.rejects(redisCommands(broker.url.replace('app:right@', ''), [['PING']], { tls }), /NOAUTH/)
  await assert.rejects(redisCommands(broker.url.replace('rediss:', 'redis:'), [['PING']]))
  await assert.rejects(redisCommands(broker.url, [['PING']], { tls: await makeTls(join(folder, 'other')) }), /certificate/)
})

test('what a script wrote is there after kill -9 on a server with users, which loads it as nobody of them', async (context) => {
  const broker = await started(context, { users: [{ name: 'app', password: 'right' }] })
  await broker.control(['EVAL', "redis.call('SET', 'a', '1') redis.call('SET', 'b', '2')", '0'])
  await broker.signal('SIGKILL')
  await broker.start()
  assert.equal(await broker.control(['MGET', 'a', 'b']), '1\n2')
  await assert.rejects(redisCommands(broker.url.replace('app:right@', ''), [['GET', 'a']]), /NOAUTH/)
})

test('a sentinel watches a server', async (context) => {
  const server = await started(context)
  const settings = [`sentinel monitor main 127.0.0.1 ${server.port} 1`, 'sentinel down-after-milliseconds main 1000']
  const sentinel = await started(context, { sentinel: true, settings })
  assert.equal(await sentinel.control(['SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'main']), `127.0.0.1\n${server.port}`)
})

test('a server ends when the process that started it is killed', async () => {
  const script = `
    const { startBroker } = await import(${JSON.stringify(new URL('../brokers/index.mjs', import.meta.url).href)})
    const { pid, folder } = await startBroker('redis')
    console.log(JSON.stringify({ pid, folder }))
    setInterval(() => {}, 1000)`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const { pid, folder } = JSON.parse(await new Promise((resolve) => parent.stdout.once('data', resolve)))
  const server = identify(pid)
  assert.ok(lives(server))
  parent.kill('SIGKILL')
  await until(() => !lives(server) && !existsSync(folder))
})
