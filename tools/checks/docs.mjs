// Documentation is code: every `ts` block of every page and every `@example` compiles against the packages, and blocks marked
// `run` are run and print what the page says. tools/lib/blocks.mjs says how a block is written.
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { compileBlocks, exampleBlocks, pageBlocks, writeBlocks } from '../lib/blocks.mjs'
import { runNode } from '../lib/process.mjs'
import { packageSources } from '../lib/source.mjs'
import { filesBelow, root } from '../lib/workspace.mjs'

const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href
const isPage = (file) => /^(README\.md|docs\/.*\.md|(packages|examples)\/[^/]+\/README\.md)$/.test(file)
const trimmed = (text) => text.replace(/[ \t]+$/gm, '').trim()

async function problemsOfRun(base, block) {
  const file = join(base, block.file)
  const args = ['--conditions=@posthorn/source', '--import', tsx, file]
  const { code, output } = await runNode(args, { cwd: dirname(file), timeoutMs: 30_000, env: { ...process.env, NO_COLOR: '1' } })
  const at = { file: block.page, line: block.line }
  if (code !== 0) return [{ ...at, text: `it ended with code ${code}:\n${output.trim()}` }]
  if (block.output === undefined || trimmed(output) === trimmed(block.output)) return []
  return [{ ...at, text: `it does not print what the page says, but:\n${output.trim()}` }]
}

export async function check(base) {
  const pages = filesBelow(base, '.', isPage)
  const blocks = [...pages.flatMap((page) => pageBlocks(base, page)), ...packageSources(base).flatMap((file) => exampleBlocks(base, file))]
  if (blocks.length === 0) return { examined: 0, problems: [] }
  writeBlocks(base, blocks)
  const problems = compileBlocks(base, blocks)
  const broken = new Set(problems.map(({ file }) => file))
  for (const block of blocks) {
    if (block.run === true && !broken.has(block.page)) problems.push(...(await problemsOfRun(base, block)))
  }
  return { examined: blocks.length, problems }
}
