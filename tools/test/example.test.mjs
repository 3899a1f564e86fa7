// `npm run order-service` and the other examples: what they refuse, and that they are what README and scripts say.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { runNode } from '../lib/process.mjs'
import { filesBelow, root } from '../lib/workspace.mjs'

const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('POSTHORN_')))
const run = (args, env = {}) => runNode(['tools/example.mjs', ...args], { env: { ...inherited, ...env }, timeoutMs: 60_000 })
const scripts = Object.entries(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).scripts)
const programs = scripts.filter(([, command]) => command.startsWith('node tools/example.mjs '))

test('each script starts the example of its own name', () => {
  assert.equal(programs.length, 9)
  for (const [name, command] of programs) assert.equal(command, `node tools/example.mjs ${name}`)
})

test('a service that meets others is refused without a server, and the text says how to get one', async () => {
  for (const name of ['order-service', 'notification-service', 'task-worker']) {
    const { code, output } = await run([name])
    assert.equal(code, 2, output)
    assert.match(output, /set POSTHORN_BROKER/)
    assert.match(output, /npm run broker redis/)
  }
})

test('a service that meets others is refused on the embedded broker, which has nobody else', async () => {
  const { code, output } = await run(['order-service'], { POSTHORN_BROKER: 'memory:shop' })
  assert.equal(code, 2, output)
  assert.match(output, /keeps messages in one process: nobody would get them/)
})

test('a broker that does not exist, or is given to a service, is refused', async () => {
  const nats = await run(['burst', '--broker', 'nats'])
  assert.deepEqual(
    [nats.code, /--broker takes memory, redis, rabbitmq, kafka, mqtt or the URL of a server that runs, not "nats"/.test(nats.output)],
    [2, true],
    nats.output,
  )
  const service = await run(['order-service', '--broker=redis'])
  assert.deepEqual([service.code, /takes its broker from POSTHORN_BROKER/.test(service.output)], [2, true], service.output)
  const unknown = await run(['brust'])
  assert.deepEqual([unknown.code, /there is no example "brust"/.test(unknown.output)], [2, true], unknown.output)
})

test('an application runs on the embedded broker where nothing is said', async () => {
  const { code, output } = await run(['chained-topics', '--purchases', '50'])
  assert.equal(code, 0, output)
  assert.match(output, /50 purchases go through three services, on memory/)
})

test('the addresses of examples/posthorn.config.json are those of docker-compose.yml', () => {
  const { brokers } = JSON.parse(readFileSync(join(root, 'examples', 'posthorn.config.json'), 'utf8'))
  const compose = readFileSync(join(root, 'docker-compose.yml'), 'utf8')
  for (const url of Object.values(brokers)) {
    const port = /:(\d+)$/.exec(url)?.[1]
    assert.ok(compose.includes(`'127.0.0.1:${port}:${port}'`), `docker-compose.yml publishes no port ${port}`)
  }
})

test('every program of the examples is under 100 lines, and every example says how it is run', () => {
  const folders = readdirSync(join(root, 'examples'), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !['custom-adapter', 'polyglot'].includes(entry.name))
    .map(({ name }) => name)
  // The demo of order-notification is its stage, not a program to start from.
  const sources = folders.flatMap((name) =>
    filesBelow(root, `examples/${name}/src`, (file) => file.endsWith('.ts') && !file.includes('/src/demo/')),
  )
  assert.ok(sources.length > 20)
  for (const file of sources) {
    const lines = readFileSync(join(root, file), 'utf8').trimEnd().split('\n').length
    assert.ok(lines < 100, `${file} has ${lines} lines`)
  }
  for (const name of folders) assert.match(readFileSync(join(root, 'examples', name, 'README.md'), 'utf8'), /^```/m)
})
