import { readFileSync } from 'node:fs'
import { wire } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'

// docs/wire.md promises to be enough to write a client from: what it says in numbers and in code is what the programs here do.

const page = readFileSync(new URL('../../../docs/wire.md', import.meta.url), 'utf8')

it('the hashes on the page are those of the library', () => {
  const rows = [...page.matchAll(/^\| (?:`([^`]+)`|the empty key) \| (-?\d+) \| (\d) \|$/gm)]
  expect(rows.length).toBe(5)
  for (const [, key = '', hash, partition] of rows) {
    const found = wire.murmur2(Buffer.from(key))
    expect([key, found, (found & 0x7fffffff) % 4]).toEqual([key, Number(hash), Number(partition)])
  }
})

it('the hash on the page is the one that the program in Python uses', () => {
  const code = /```python\n([\s\S]*?)```/.exec(page)?.[1] ?? 'none'
  expect(readFileSync(new URL('../python/partition.py', import.meta.url), 'utf8')).toContain(code)
})
