// Where a server comes from, and that nothing outlives the run: without a server.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fill, withLock } from '../brokers/cache.mjs'
import { engineSocket } from '../brokers/docker.mjs'
import { identify, lives } from '../brokers/identity.mjs'
import { BrokerMissing, findBroker, polyglotProgram, pythonWith, startBroker } from '../brokers/index.mjs'
import { freePort, releasePort } from '../brokers/ports.mjs'
import { runsFolder, sweep } from '../brokers/runs.mjs'

/** Sets variables of the environment while `work` runs. */
async function withEnvironment(variables, work) {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]))
  Object.assign(process.env, variables)
  try {
    return await work()
  } finally {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

const temporary = (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'posthorn-test-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('an address in the environment is the only place that is asked, and its password is not repeated', async () => {
  const port = await freePort()
  const found = await withEnvironment({ POSTHORN_REDIS_URL: `redis://me:secret@127.0.0.1:${port}` }, () => findBroker('redis'))
  releasePort(port)
  assert.equal(found.available, false)
  assert.match(found.reason, /POSTHORN_REDIS_URL=redis:\/\/127\.0\.0\.1/)
  assert.doesNotMatch(found.reason, /secret|cache/)
})

test('a server that speaks another protocol is not taken for the one that was asked for', async () => {
  const server = createServer((socket) => socket.on('error', () => {}).end('220 mail\r\n')).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const url = (scheme) => `${scheme}://127.0.0.1:${server.address().port}`
  const redis = await withEnvironment({ POSTHORN_REDIS_URL: url('redis') }, () => findBroker('redis'))
  const rabbitmq = await withEnvironment({ POSTHORN_RABBITMQ_URL: url('amqp') }, () => findBroker('rabbitmq'))
  server.close()
  assert.match(redis.reason, /not an answer of Redis/)
  assert.match(rabbitmq.reason, /does not speak AMQP/)
})

test('a binary in the environment that does not work is an error, not a reason to look elsewhere', async () => {
  const variables = { POSTHORN_REDIS_URL: '', POSTHORN_REDIS_BINARY: join(tmpdir(), 'there-is-none') }
  await withEnvironment(variables, () =>
    assert.rejects(startBroker('redis'), (error) => {
      assert.ok(error instanceof BrokerMissing)
      assert.match(error.message, /there-is-none: there is no such file/)
      return true
    }),
  )
})

test('a container engine is one whose socket answers, and looking for it leaves the imports of linked packages whole', async (context) => {
  const path = join(temporary(context), 'engine.sock')
  let mute = false
  const server = createHttpServer((_, answer) => (mute ? undefined : answer.end('OK'))).listen(path)
  await new Promise((resolve) => server.once('listening', resolve))
  await withEnvironment({ DOCKER_HOST: `unix://${path}` }, async () => {
    assert.equal(await engineSocket(), path)
    assert.equal(typeof (await import('testcontainers')).getContainerRuntimeClient, 'function')
    mute = true
    assert.notEqual(await engineSocket(), path)
  })
  server.closeAllConnections()
  server.close()
})

test('a server that nobody knows is refused by its name, with those that are known', async () => {
  const found = await findBroker('nats')
  assert.match(found.reason, /nats[\s\S]*known are redis, rabbitmq/)
  await assert.rejects(startBroker('nats'), { code: 'BROKER_MISSING' })
})

test('Python packages must be pinned', async () => {
  await assert.rejects(pythonWith(['redis>=5']), /not pinned to a version: redis>=5/)
})

test('a folder of the cache appears complete or not at all', async (context) => {
  const parent = temporary(context)
  await assert.rejects(
    fill(parent, async (fresh) => {
      writeFileSync(join(fresh, 'half'), '')
      throw new Error('the network is gone')
    }),
    /the network is gone/,
  )
  const target = await fill(parent, async (fresh) => {
    writeFileSync(join(fresh, 'all'), '')
    return 'one'
  })
  assert.deepEqual([target, existsSync(join(target, 'all'))], [join(parent, 'one'), true])
})

test('work under one lock is done by one at a time, and the lock of a dead process is taken over', async (context) => {
  const folder = temporary(context)
  await withEnvironment({ POSTHORN_CACHE: folder }, async () => {
    mkdirSync(join(folder, 'locks'), { recursive: true })
    writeFileSync(join(folder, 'locks', 'a'), JSON.stringify({ pid: process.pid, started: 'long ago' }))
    let inside = 0
    let most = 0
    const work = async () => {
      inside += 1
      most = Math.max(most, inside)
      await new Promise((resolve) => setImmediate(resolve))
      inside -= 1
    }
    await Promise.all([withLock('a', work), withLock('a', work), withLock('a', work)])
    assert.equal(most, 1)
    assert.equal(existsSync(join(folder, 'locks', 'a')), false)
  })
})

test('no port is given twice, and none from the range of outgoing connections', async () => {
  const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()))
  for (const port of ports) releasePort(port)
  assert.equal(new Set(ports).size, 20)
  assert.ok(ports.every((port) => port >= 20_000 && port < 25_000))
})

test('what a dead run left is swept: its processes by pid and start time, and its folder', async () => {
  const idle = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  const [left, stranger] = [idle(), idle()]
  const run = join(runsFolder, `0-test-${process.pid}`)
  mkdirSync(join(run, 'processes'), { recursive: true })
  const write = (name, value) => writeFileSync(join(run, name), JSON.stringify(value))
  write('owner.json', { pid: process.pid, started: 'long ago' })
  write(`processes/${left.pid}`, identify(left.pid))
  // The number of a process that ended, which another one has now.
  write(`processes/${stranger.pid}`, { pid: stranger.pid, started: 'long ago' })
  const ended = new Promise((resolve) => left.once('exit', (_, signal) => resolve(signal)))
  sweep()
  assert.equal(await ended, 'SIGKILL')
  assert.ok(lives(identify(stranger.pid)))
  assert.equal(existsSync(run), false)
  stranger.kill('SIGKILL')
})

/** A folder with a Go program, and a `go` that does what is said here. */
function goOf(context, script) {
  const folder = temporary(context)
  const sources = join(folder, 'sources')
  mkdirSync(sources)
  writeFileSync(join(sources, 'go.mod'), 'module example.com/shop\n\ngo 1.24.0\n')
  writeFileSync(join(sources, 'main.go'), 'package main\n')
  writeFileSync(join(folder, 'go'), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  const env = { PATH: `${folder}:/bin`, POSTHORN_CACHE: join(folder, 'cache') }
  return { cache: env.POSTHORN_CACHE, build: () => withEnvironment(env, () => polyglotProgram('go', sources)) }
}

test('a language that is not installed, is too old or reaches no packages is missing', async (context) => {
  const empty = temporary(context)
  for (const language of ['python', 'go', 'java'])
    await assert.rejects(
      withEnvironment({ PATH: empty }, () => polyglotProgram(language, empty)),
      { code: 'LANGUAGE_MISSING' },
      language,
    )
  const old = goOf(context, 'echo go version go1.20.3 linux/amd64')
  await assert.rejects(old.build(), { code: 'LANGUAGE_MISSING', message: /it is Go 1\.20\.3, and 1\.24 is needed/ })
  const alone = goOf(context, '[ "$1" = version ] && echo go version go1.26 linux/amd64 || { echo "dial tcp: no such host"; exit 1; }')
  await assert.rejects(alone.build(), { code: 'LANGUAGE_MISSING', message: /no such host/ })
})

test('a program that does not compile is an error and no missing language, and leaves nothing in the cache', async (context) => {
  const broken = goOf(context, 'case $1 in version) echo go version go1.26 linux/amd64;; build) echo "syntax error"; exit 1;; esac')
  await assert.rejects(broken.build(), (error) => error.code === undefined && /syntax error/.test(error.message))
  assert.deepEqual(readdirSync(join(broken.cache, 'programs')), [])
})

test('a program is built once', async (context) => {
  const once = goOf(
    context,
    'case $1 in version) echo go version go1.26 linux/amd64;; build) echo built >> "$0.log"; touch polyglot;; esac',
  )
  const [first, second] = [await once.build(), await once.build()]
  assert.deepEqual(first, second)
  assert.equal(readdirSync(join(once.cache, 'programs')).length, 1)
})
