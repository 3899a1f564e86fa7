// A file has one job. Past 400 lines it has two.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageSources } from '../lib/source.mjs'
import { filesBelow } from '../lib/workspace.mjs'

const most = 400

export function check(base) {
  const files = [...packageSources(base), ...filesBelow(base, 'tools', (file) => file.endsWith('.mjs'))]
  const problems = files.flatMap((file) => {
    const lines = readFileSync(join(base, file), 'utf8').trimEnd().split('\n').length
    return lines > most ? [{ file, line: most + 1, text: `${lines} lines; at most ${most}: split off the second job` }] : []
  })
  return { examined: files.length, problems }
}
