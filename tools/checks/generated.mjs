// A table between `generated` markers is what the generator writes there now.
import { generate } from '../lib/tables.mjs'

export async function check(base) {
  try {
    const pages = await generate(base)
    const stale = pages.filter(({ before, after }) => before !== after)
    const problems = stale.map(({ file, before, after }) => {
      const lines = after.split('\n')
      const line = before.split('\n').findIndex((text, index) => text !== lines[index]) + 1
      return { file, line, text: 'a generated table is out of date; npm run generate' }
    })
    return { examined: pages.length, problems }
  } catch (error) {
    return { examined: 0, problems: [{ file: 'docs', line: 1, text: error.message }] }
  }
}
