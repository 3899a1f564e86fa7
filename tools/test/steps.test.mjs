// What the test command says is the sum of what its steps did; nothing that failed, vanished or did nothing may look green.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { count, sentence, sum } from '../lib/counts.mjs'
import { runSteps } from '../lib/scheduler.mjs'
import { steps } from '../steps.mjs'

const printing = (text, code = 0) => ['-e', `console.log(${JSON.stringify(text)}); process.exitCode = ${code}`]
const quiet = { strict: false, servers: new Set(), report: () => {} }

test('the last line of the output is what counts', () => {
  const output = '9 passed, 9 failed, 9 skipped\nand then\n3 passed, 0 failed, 1 skipped\n'
  assert.deepEqual(count({ counts: 'line' }, { code: 0, output }), { passed: 3, failed: 0, skipped: 1 })
})

test('a step that prints no counts, that ends badly or that ran nothing is a failure', () => {
  assert.equal(count({ counts: 'line' }, { code: 0, output: 'fine\n' }).failed, 1)
  assert.equal(count({ counts: 'line' }, { code: 3, output: '5 passed, 0 failed, 0 skipped\n' }).failed, 1)
  assert.equal(count({ counts: 'line' }, { code: 0, output: '0 passed, 0 failed, 0 skipped\n' }).failed, 1)
  assert.equal(count({ counts: 'tap' }, { code: 0, output: 'ok 1\n' }).failed, 1)
  assert.equal(count({ counts: 'vitest', report: 'reports/there-is-none.json' }, { code: 0, output: '' }).failed, 1)
})

test('the counts of all steps are added up', () => {
  const results = new Map([
    ['a', { passed: 1, failed: 2, skipped: 3 }],
    ['b', { passed: 10, failed: 20, skipped: 30 }],
  ])
  assert.equal(sentence(sum(results.values())), '11 passed, 22 failed, 33 skipped')
})

test('a step whose script is missing fails, and so does what comes after a failed one', async () => {
  const list = [
    { name: 'missing', args: ['x.mjs'], files: ['tools/there-is-none.mjs'], counts: 'line' },
    { name: 'next', args: printing('1 passed, 0 failed'), after: ['missing'], counts: 'line' },
    { name: 'other', args: printing('1 passed, 0 failed'), counts: 'line' },
  ]
  const results = await runSteps(list, quiet)
  assert.deepEqual([...results.values()].map(({ failed }) => failed).sort(), [0, 1, 1])
  assert.match(results.get('missing').note, /there-is-none/)
  assert.match(results.get('next').note, /not run: missing failed/)
})

test('a step without its server is skipped, and fails in strict mode', async () => {
  const list = [{ name: 'live', args: printing('1 passed, 0 failed'), counts: 'line', server: 'redis' }]
  const loose = (await runSteps(list, quiet)).get('live')
  const strict = (await runSteps(list, { ...quiet, strict: true })).get('live')
  const there = (await runSteps(list, { ...quiet, strict: true, servers: new Set(['redis']) })).get('live')
  assert.deepEqual([loose.skipped, strict.failed, there.passed], [1, 1, 1])
})

test('a step that never ends is stopped and fails', async () => {
  const list = [{ name: 'hangs', args: ['-e', 'setInterval(() => {}, 1000)'], counts: 'exit', minutes: 0.01 }]
  assert.equal((await runSteps(list, quiet)).get('hangs').failed, 1)
})

test('the names of the steps are unique and what they come after exists', () => {
  const names = steps.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const { after = [] } of steps) for (const name of after) assert.ok(names.includes(name), name)
})
