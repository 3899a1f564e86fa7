// What `npm test` runs, as data. To add a step, add an entry to the list; nothing else changes.
//
//   name      segments joined by ":"; `npm test -- WORD` runs the steps that have WORD as a segment or as their whole name
//   args      arguments of Node, the command
//   counts    how the results are read: one of tools/lib/counts.mjs
//   after     names of steps that must have passed before (a failed one fails this one too)
//   files     files that must exist when it starts; a missing one is a failure, never a skip
//   server    name of a real server it needs: without one the step is skipped, and in strict mode it fails
//   show      how many lines of its report, before the count line, are shown even if all is well
//   cores     processor cores it keeps busy (1)
//   minutes   how long it may take (10)
//   env       environment variables to set
//   named     run only where a word names it; a plain run says so
import { accessSync, constants, existsSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { members, root } from './lib/workspace.mjs'

const bin = (path) => join(root, 'node_modules', path)
const last = (folder) => folder.split('/').at(-1)
const tested = members().filter(({ folder }) => existsSync(join(root, folder, 'tsconfig.test.json')))

/** One project of the workspace: its unit tests and its type tests. They import the sources, so no build comes before. */
const unitTests = tested.map(({ folder }) => {
  const name = last(folder)
  const report = `reports/${name}.json`
  const reporters = [name === 'polyglot' ? '--reporter=verbose' : '--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const args = [bin('vitest/vitest.mjs'), 'run', '--project', name, '--allowOnly=false', '--maxWorkers=1', ...reporters]
  // What starts servers and looks at the clock has the machine for itself: adapters, and examples in their own processes. Of programs in
  // other languages it is shown which ran where, and why another did not.
  const startsServers = name.startsWith('adapter-') || (folder.startsWith('examples/') && name !== 'custom-adapter')
  const alone = startsServers ? { cores: 2, minutes: 20 } : {}
  const shown = name === 'polyglot' ? { show: 24 } : {}
  return { name: `test:${name}`, args, counts: 'vitest', report, ...alone, ...shown }
})

/** Sources, tests and examples of one project, as its own compiler options see them. */
const typeChecks = tested.map(({ folder }) => ({
  name: `types:${last(folder)}`,
  args: [bin('typescript/bin/tsc'), '-p', `${folder}/tsconfig.test.json`, '--noEmit', '--pretty', 'false'],
  counts: 'exit',
}))

/** The suite on the embedded broker, claiming what each broker will claim. */
const conformance = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt'].map((profile) => ({
  name: `suite:memory:${profile}`,
  args: ['packages/conformance/dist/main.js', '--profile', profile],
  files: ['packages/conformance/dist/main.js'],
  after: ['build'],
  counts: 'line',
  show: 2,
}))

/** Kafka waits for the disk with each new partition, and a clause may have hundreds: in memory that takes no time. */
const inMemory = (() => {
  try {
    accessSync('/dev/shm', constants.W_OK)
    const { bavail, bsize } = statfsSync('/dev/shm')
    return bavail * bsize > 2e9 ? { env: { TMPDIR: '/dev/shm' } } : {}
  } catch {
    return {}
  }
})()

/**
 * The suite, its planted bugs and the example on real servers. What the faults did is kept in reports/. On Kafka and MQTT the first two
 * are run by name, `npm test -- suite:mqtt`: all eight would take longer than a run may.
 */
const onServers = [
  { server: 'redis', shards: 8, named: false },
  { server: 'rabbitmq', shards: 8, named: false },
  // Each of its servers keeps a core busy now and then.
  { server: 'kafka', shards: 5, named: true },
  { server: 'mqtt', shards: 8, named: true },
].flatMap(({ server, shards, named }) => [
  {
    name: `suite:${server}`,
    args: [
      'packages/conformance/dist/main.js',
      ...['--harness', `packages/adapter-${server}/test/conformance/harness.ts`, '--shards', String(shards), '--slack', '4'],
      ...['--report', `reports/faults-${server}.json`, '--brief'],
    ],
    files: ['packages/conformance/dist/main.js'],
    after: ['build'],
    counts: 'line',
    show: 40,
    server,
    cores: 2,
    minutes: 30,
    named,
    ...(server === 'kafka' ? inMemory : {}),
  },
  {
    name: `mutants:${server}`,
    args: ['packages/conformance/dist/mutants.js', '--server', server],
    files: ['packages/conformance/dist/mutants.js'],
    after: ['build'],
    counts: 'line',
    show: 3,
    server,
    cores: 2,
    minutes: 20,
    named,
    ...(server === 'kafka' ? inMemory : {}),
  },
  {
    name: `demo:${server}`,
    args: ['tools/demo.mjs', '--broker', server, '--orders', '600'],
    files: ['examples/order-notification/src/demo.ts'],
    after: ['build'],
    counts: 'exit',
    server,
    cores: 2,
    minutes: 5,
  },
])

/** Tests of the tools themselves, by Node's own runner. */
const testing = (...files) => ['--test', '--test-reporter=tap', ...files]

export const steps = [
  { name: 'build', args: ['tools/build.mjs'], counts: 'exit' },
  { name: 'check', args: ['tools/check.mjs'], counts: 'line' },
  {
    name: 'check:self',
    args: testing('tools/test/checks.test.mjs', 'tools/test/steps.test.mjs', 'tools/test/demo.test.mjs'),
    counts: 'tap',
  },
  { name: 'check:brokers', args: testing('tools/test/brokers.test.mjs'), counts: 'tap' },
  { name: 'check:brokers:redis', args: testing('tools/test/brokers-redis.test.mjs'), counts: 'tap', server: 'redis' },
  { name: 'check:brokers:rabbitmq', args: testing('tools/test/brokers-rabbitmq.test.mjs'), counts: 'tap', server: 'rabbitmq' },
  { name: 'check:brokers:kafka', args: testing('tools/test/brokers-kafka.test.mjs'), counts: 'tap', server: 'kafka' },
  { name: 'check:example', args: testing('tools/test/example.test.mjs'), counts: 'tap', after: ['build'] },
  { name: 'format', args: [bin('@biomejs/biome/bin/biome'), 'check', '--max-diagnostics=40', '.'], counts: 'exit' },
  ...unitTests,
  ...conformance,
  {
    name: 'mutants',
    args: ['packages/conformance/dist/mutants.js'],
    files: ['packages/conformance/dist/mutants.js'],
    after: ['build'],
    counts: 'line',
    show: 3,
  },
  {
    name: 'simulation',
    args: ['packages/conformance/dist/simulation.js', '--seeds', '2000'],
    files: ['packages/conformance/dist/simulation.js'],
    after: ['build'],
    counts: 'line',
    show: 2,
  },
  ...typeChecks,
  { name: 'pack', args: ['tools/pack.mjs'], after: ['build'], counts: 'line' },
  { name: 'docs', args: ['tools/check.mjs', 'docs'], counts: 'line' },
  {
    name: 'demo',
    args: ['tools/demo.mjs', '--orders', '600'],
    files: ['examples/order-notification/src/demo.ts'],
    after: ['build'],
    counts: 'exit',
    minutes: 3,
  },
  ...onServers,
]
