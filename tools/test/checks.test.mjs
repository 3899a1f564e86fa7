// A check that cannot fail proves nothing: each one gets a small clean repository, where it is silent, and then each flaw it is
// there for, which it must name.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { checks } from '../checks/index.mjs'

const manifest = {
  name: '@posthorn/core',
  version: '0.1.0',
  description: 'A package that breaks no rule at all',
  license: 'Apache-2.0',
  type: 'module',
  engines: { node: '>=20.19' },
  sideEffects: false,
  files: ['dist'],
  exports: {
    '.': { '@posthorn/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json',
  },
  devDependencies: { zod: 'catalog:' },
}
const source = 'packages/core/src/index.ts'
const clean = {
  'packages/core/package.json': JSON.stringify(manifest),
  'packages/core/api/index.txt': 'function one\ntype Two\n',
  [source]:
    "import { inspect } from 'node:util'\n\n/** One. */\nexport function one(): string {\n  return inspect(1)\n}\n/** Two. */\nexport interface Two {\n  readonly two: 2\n}\n",
  'packages/core/src/clock.ts': 'export const now = (): number => Date.now()\n',
  'packages/core/test/index.test.ts': "import { z } from 'zod'\nimport { one } from '@posthorn/core'\nit('is one', () => one())\n",
  'docs/package.json': '{ "name": "@posthorn/docs", "private": true, "type": "module" }',
  'README.md': "# Clean\n\n```ts run\nconsole.log('one')\n```\n\n```text output\none\n```\n",
}
const changed = (change) => JSON.stringify({ ...manifest, ...change })
const appended = (text) => ({ [source]: `${clean[source]}${text}\n` })
const lines = (count) => '// a line\n'.repeat(count)

/** Per check: `[files that hold a flaw, what the check must say]`. */
const flaws = {
  clock: [
    ...[
      'Date.now()',
      'new Date()',
      'Date()',
      'performance.now()',
      'Math.random()',
      'process.hrtime.bigint()',
      'AbortSignal.timeout(5)',
    ].map((code) => [appended(`export const x: unknown = ${code}`), /context's clock/]),
    ...['setTimeout(one, 5)', 'setInterval(one, 5)', 'setImmediate(one)', 'globalThis.setTimeout(one, 5)', 'setTimeout'].map((code) => [
      appended(`export const x: unknown = ${code}`),
      /context's clock/,
    ]),
    [appended("import { setTimeout as sleep } from 'node:timers/promises'"), /node:timers\/promises/],
    [appended("import { randomUUID } from 'node:crypto'"), /randomUUID/],
  ],
  length: [
    [{ [source]: lines(401) }, /401 lines/],
    [{ 'tools/long.mjs': lines(500) }, /500 lines/],
  ],
  imports: [
    [appended("import { z } from 'zod'"), /not among the dependencies/],
    [appended("import { x } from '../test/x.ts'"), /sources import sources only/],
    [appended("import { x } from '../../other/src/x.ts'"), /stays in its own package/],
    [appended("import { now } from './clock'"), /ending \.ts/],
    [appended("import { one as again } from '@posthorn/core'"), /relative path/],
    [{ 'packages/core/test/x.test.ts': "import { now } from '@posthorn/core/src/clock.ts'" }, /not an entry point/],
    [{ 'packages/core/test/x.test.ts': "const x = import('left-pad')" }, /not among the dependencies/],
    [
      {
        'packages/adapter-kafka/package.json': JSON.stringify({
          name: '@posthorn/kafka',
          peerDependencies: { '@posthorn/core': 'workspace:*' },
        }),
        'packages/adapter-kafka/src/index.ts': "import { one } from '@posthorn/core'",
      },
      /does not import @posthorn\/core/,
    ],
    [{ 'packages/core/src/server.ts': "import { startBroker } from '../../../tools/brokers/index.mjs'" }, /stays in its own package/],
    [{ 'packages/core/test/x.test.ts': "import { root } from '../../../tools/lib/workspace.mjs'" }, /stays in its own package/],
  ],
  language: [
    [appended('export const x: any = 1'), /`any`/],
    [appended('export enum X { a }'), /`enum`/],
    [appended('export namespace X { export const a = 1 }'), /`namespace`/],
    [appended("export * from './clock.ts'"), /list the names/],
    [appended('export default 1'), /default export/],
    [appended('export default function x(): void {}'), /default export/],
    [appended('class A {}\nclass B extends A {}'), /inheritance/],
    [appended('// @ts-ignore'), /@ts-ignore/],
    [appended('// @ts-expect-error'), /@ts-expect-error/],
    [{ 'packages/core/test/x.test.ts': "it.skip('x', () => {})" }, /\.skip/],
    [{ 'packages/core/test/x.test.ts': "describe.concurrent.only('x', () => {})" }, /\.only/],
    [{ 'packages/core/test/x.test.ts': "test.todo('x')" }, /\.todo/],
    [{ 'packages/core/src/utils.ts': '' }, /says nothing/],
  ],
  versions: [
    [{ 'packages/core/package.json': changed({ dependencies: { zod: '^4.0.0' } }) }, /"catalog:"/],
    [{ 'packages/core/package.json': changed({ peerDependencies: { '@posthorn/kafka': '1.0.0' } }) }, /"workspace:\*"/],
    [
      {
        'pnpm-workspace.yaml': 'catalog:\n  zod: 4.6.7\n',
        'packages/core/package.json': changed({ peerDependencies: { zod: '^4.0.0' } }),
      },
      /write "~4\.6\.7"/,
    ],
  ],
  manifests: [
    [{ 'packages/core/package.json': changed({ engines: {} }) }, /"engines"/],
    [{ 'packages/core/package.json': changed({ files: ['dist', 'src'] }) }, /neither sources/],
    [{ 'packages/core/package.json': changed({ exports: { '.': './dist/index.js' } }) }, /has conditions/],
    [
      { 'packages/core/package.json': changed({ exports: { '.': { '@posthorn/source': './src/a.ts', default: './dist/a.js' } } }) },
      /"types" and "default"/,
    ],
    [{ 'packages/core/package.json': changed({ scripts: { postinstall: 'x' } }) }, /no script/],
  ],
  wording: [
    [{ 'docs/x.md': `see /${'root'}/notes.md` }, /one machine/],
    [{ 'docs/x.md': `"/${'home'}/ada/app"` }, /one machine/],
    [{ 'docs/x.md': `https://registry.${'npmjs'}.org/zod` }, /registry/],
    [{ 'docs/x.md': `written by an ${'A'}I` }, /how the project/],
    [{ 'docs/x.md': `ask your ${'ass'}istant` }, /how the project/],
    [{ 'docs/x.md': `three ${'ag'}ents wrote it` }, /how the project/],
  ],
  api: [
    [{ 'packages/core/api/index.txt': 'function one\n' }, /\+ type Two/],
    [{ 'packages/core/api/index.txt': 'function one\ntype Two\ntype Gone\n' }, /- type Gone/],
    [{ [source]: clean[source].replace('/** One. */\n', '') }, /one has no comment/],
    [appended(Array.from({ length: 12 }, (_, index) => `/** V. */\nexport const v${index} = 1`).join('\n')), /13 values/],
    [appended(Array.from({ length: 45 }, (_, index) => `/** T. */\nexport type T${index} = 1`).join('\n')), /46 types/],
    [{ [source]: undefined }, /does not exist/],
  ],
  generated: [
    [
      {
        ...appended("/** C. */\nexport type ErrorCode = 'A' | 'B'"),
        'docs/x.md': '<!-- generated:error-codes -->\nold\n<!-- /generated:error-codes -->\n',
      },
      /out of date/,
    ],
    [{ 'docs/x.md': '<!-- generated:nothing -->\n<!-- /generated -->\n' }, /no table/],
  ],
  docs: [
    [{ 'docs/x.md': '```ts\nconst one: number = "one"\n```\n' }, /not assignable/],
    [{ 'docs/x.md': '```ts\nconst one = 1\n```\n\n```ts\nconst two = one\n```\n' }, /Cannot find name 'one'/],
    [{ 'docs/x.md': "```ts run\nthrow new Error('no')\n```\n" }, /ended with code 1/],
    [{ 'docs/x.md': '```ts run\nconsole.log(1)\n```\n\n```text output\n2\n```\n' }, /does not print/],
    [{ [source]: clean[source].replace('/** One. */', '/**\n * One.\n *\n * @example\n * onee()\n */') }, /onee/],
  ],
}

async function problems(name, files) {
  const base = mkdtempSync(join(tmpdir(), 'posthorn-check-'))
  try {
    for (const [file, text] of Object.entries({ ...clean, ...files })) {
      if (text === undefined) continue
      mkdirSync(dirname(join(base, file)), { recursive: true })
      writeFileSync(join(base, file), text)
    }
    return (await checks[name](base)).problems.map(({ file, line, text }) => `${file}:${line}: ${text}`).join('\n')
  } finally {
    rmSync(base, { recursive: true, force: true })
  }
}

test('every check has planted flaws', () => {
  assert.deepEqual(Object.keys(flaws).sort(), Object.keys(checks).sort())
})

for (const [name, list] of Object.entries(flaws)) {
  test(`${name} is silent about a clean repository`, async () => {
    assert.equal(await problems(name, {}), '')
  })
  for (const [files, expected] of list) {
    test(`${name} finds ${expected.source} in ${JSON.stringify(Object.values(files).at(-1) ?? Object.keys(files)).slice(-60)}`, async () => {
      assert.match(await problems(name, files), expected)
    })
  }
}

test('docs lets the blocks of a page share code by file name, by continuing and by a preamble', async () => {
  const page = [
    '```ts\n// topics.ts\nexport const one = 1\n```',
    "```ts run\nimport { one } from './topics.ts'\nconst two = one + one\n```",
    '<!-- continues -->\n```ts run\nconsole.log(two)\n```\n\n```text output\n2\n```',
    '<!-- preamble: three -->\n```ts\nconst four: number = three + 1\n```',
  ]
  const files = { 'docs/x.md': page.join('\n\n'), 'docs/preambles/three.ts': 'declare const three: number\n' }
  assert.equal(await problems('docs', files), '')
})
