import { readFileSync } from 'node:fs'
import type { ErrorCode } from '@posthorn/core'
import { describe, expect, it } from 'vitest'

// The compiler keeps this list equal to the union: a code that is missing here, or too many, is a type error.
const codes: { readonly [Code in ErrorCode]: true } = {
  UNAVAILABLE: true,
  TIMED_OUT: true,
  CANCELLED: true,
  CLOSED: true,
  UNAUTHORIZED: true,
  NOT_FOUND: true,
  CONFLICT: true,
  TOO_LARGE: true,
  INVALID_MESSAGE: true,
  INVALID_ARGUMENT: true,
  UNSUPPORTED: true,
  UNDECODABLE: true,
  INTERNAL: true,
}
const page = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8')
const sections = page.split(/^## /m).slice(1)
const headings = sections.map((section) => section.slice(0, section.indexOf('\n')))

describe('docs/errors.md', () => {
  it('has one heading for each code, and none for a code that does not exist', () => {
    expect(headings.filter((heading) => /^[A-Z_]+$/.test(heading)).sort()).toEqual(Object.keys(codes).sort())
  })

  it.each(Object.keys(codes))('shows what %s looks like', (code) => {
    const section = sections[headings.indexOf(code)] ?? ''
    const example = /```text\n([^\n]+)\n```/.exec(section)?.[1] ?? ''
    expect(example).toMatch(/^(cannot|the|embedded) /)
  })

  it('shows the five that everybody meets', () => {
    const section = sections[headings.indexOf('The five that everybody meets')] ?? ''
    expect(section.match(/```text/g)).toHaveLength(5)
  })
})
