// The project speaks only of itself: no folder of the machine it was written on, no host it was fetched from, nothing about how
// it is made. Patterns are written so that this file does not match them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow } from '../lib/workspace.mjs'

const text = /(\.(ts|mts|mjs|js|json|md|yaml|yml|txt|sh)|(^|\/)(run|LICENSE|\.[a-z]+))$/
const comment = /^\s*(\/\/|\/?\*)/
const rules = [
  { pattern: /(?<![\w./-])\/(?:root|work|Users|home\/[a-z]+)\/[\w.]/, says: 'a path of one machine' },
  { pattern: /\bregistry\.(?:npmjs|yarnpkg|npmmirror)\.\w+|\bnpm\.pkg\.[g]ithub\.com/i, says: 'a host of a package registry' },
  { pattern: /\b(?:[A]I|[L]LM)s?\b/, says: 'how the project is made' },
  {
    pattern: /\b[a]ssistants?\b|\b[c]o-?pilot\b|\b[c]laude\b|\b[c]hatgpt\b|\b[o]penai\b|\b[a]nthropic\b/i,
    says: 'how the project is made',
  },
  { pattern: /\b(?:[c]oding|autonomous|language)[ -](?:[a]gents?|[m]odels?)\b|\b[s]ub-?[a]gents?\b/i, says: 'how the project is made' },
  // In code the word is also Node's name for a pool of HTTP connections, so there only comments count.
  { pattern: /(?<![\w.'"`-]|[uU]ser )[a]gents?\b(?!['"`]?\s*[:(])/, says: 'how the project is made', prose: true },
]

export function check(base) {
  const files = filesBelow(base, '.', (file) => text.test(file))
  const problems = []
  for (const file of files) {
    // Names of packages are what they are.
    const wanted = file === 'pnpm-lock.yaml' ? rules.slice(0, 2) : rules
    for (const [index, line] of readFileSync(join(base, file), 'utf8').split('\n').entries()) {
      for (const { pattern, says, prose } of wanted) {
        const found = prose && !file.endsWith('.md') && !comment.test(line) ? null : pattern.exec(line)
        if (found !== null) problems.push({ file, line: index + 1, text: `"${found[0]}": ${says}` })
      }
    }
  }
  return { examined: files.length, problems }
}
